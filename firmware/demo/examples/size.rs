//! Nothing but the library, one part more with every feature: what `firmware/size` measures. It is never run.
//!
//! Memory whose size an application chooses lies in statics named `APPLICATION_…`, so that it can be distinguished.

#![no_std]
#![no_main]

// For its critical section.
use cortex_m as _;
#[cfg(not(feature = "size-recorder"))]
use cortex_m_rt::entry;

#[cfg(not(feature = "size-crash"))]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

#[cfg(not(feature = "size-recorder"))]
#[entry]
fn main() -> ! {
    loop {}
}

#[cfg(feature = "size-recorder")]
mod parts {
    use core::hint::black_box;

    use afferent_firmware::protocol::event::{Body, Quality, Sample, Value};
    use afferent_firmware::protocol::ids::Subject;
    use afferent_firmware::recorder::Recorder;
    use cortex_m_rt::{entry, exception};

    static APPLICATION_RECORDER: Recorder<16> = Recorder::new();

    const TEMPERATURE: Subject<'static> = Subject::literal("spindle/temperature");

    #[exception]
    fn SysTick() {
        let sample = Sample { value: Value::Float(black_box(1.0)), unit: "Cel", quality: Quality::Good };
        let _ = black_box(APPLICATION_RECORDER.record(black_box(1), TEMPERATURE, Body::Sample(sample)));
    }

    #[cfg(not(feature = "size-link"))]
    #[entry]
    fn main() -> ! {
        loop {
            black_box(APPLICATION_RECORDER.take());
        }
    }

    #[cfg(feature = "size-link")]
    mod device {
        use core::convert::Infallible;

        use afferent_firmware::device::{Buffers, Device, DeviceSettings};
        use afferent_firmware::limits::frame_bytes;
        use afferent_firmware::protocol::event::{Breakdown, Severity};
        use afferent_firmware::protocol::ids::SourceId;
        #[cfg(feature = "size-flash")]
        use afferent_firmware::queue::FlashQueue;
        use afferent_firmware::queue::RamQueue;
        use embedded_io::{ErrorType, Read, ReadReady, Write, WriteReady};

        use super::*;

        const BODY: usize = 512;
        const SOURCE: SourceId = SourceId::literal("spindle-1");
        const SUBJECT: Subject<'static> = Subject::literal("spindle-1");

        struct Line;
        impl ErrorType for Line {
            type Error = Infallible;
        }
        impl ReadReady for Line {
            fn read_ready(&mut self) -> Result<bool, Infallible> {
                Ok(black_box(true))
            }
        }
        impl Read for Line {
            fn read(&mut self, bytes: &mut [u8]) -> Result<usize, Infallible> {
                black_box(bytes.as_mut_ptr());
                Ok(bytes.len().min(black_box(1)))
            }
        }
        impl WriteReady for Line {
            fn write_ready(&mut self) -> Result<bool, Infallible> {
                Ok(black_box(true))
            }
        }
        impl Write for Line {
            fn write(&mut self, bytes: &[u8]) -> Result<usize, Infallible> {
                black_box(bytes.as_ptr());
                Ok(bytes.len().min(black_box(1)))
            }
            fn flush(&mut self) -> Result<(), Infallible> {
                Ok(())
            }
        }

        #[cfg(feature = "size-flash")]
        struct Flash;
        #[cfg(feature = "size-flash")]
        mod flash {
            use super::*;
            use embedded_storage_async::nor_flash::{MultiwriteNorFlash, NorFlash, ReadNorFlash};
            impl embedded_storage_async::nor_flash::ErrorType for Flash {
                type Error = Nothing;
            }
            impl embedded_storage_async::nor_flash::NorFlashError for Nothing {
                fn kind(&self) -> embedded_storage_async::nor_flash::NorFlashErrorKind {
                    embedded_storage_async::nor_flash::NorFlashErrorKind::Other
                }
            }
            impl ReadNorFlash for Flash {
                const READ_SIZE: usize = 1;
                async fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), Nothing> {
                    black_box((offset, bytes.as_mut_ptr()));
                    Ok(())
                }
                fn capacity(&self) -> usize {
                    1 << 16
                }
            }
            impl NorFlash for Flash {
                const WRITE_SIZE: usize = 4;
                const ERASE_SIZE: usize = 4096;
                async fn erase(&mut self, from: u32, to: u32) -> Result<(), Nothing> {
                    black_box((from, to));
                    Ok(())
                }
                async fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), Nothing> {
                    black_box((offset, bytes.as_ptr()));
                    Ok(())
                }
            }
            impl MultiwriteNorFlash for Flash {}
        }
        #[cfg(feature = "size-flash")]
        #[derive(Debug)]
        struct Nothing;

        #[entry]
        fn main() -> ! {
            run().unwrap_or(());
            loop {}
        }

        fn run() -> Option<()> {
            let settings = DeviceSettings::new(SOURCE, SUBJECT, black_box([1; 16]), black_box(1));
            let samples = cortex_m::singleton!(APPLICATION_SAMPLES: RamQueue<1024> = RamQueue::new())?;
            #[cfg(not(feature = "size-flash"))]
            let critical = {
                let queue = cortex_m::singleton!(APPLICATION_CRITICAL: RamQueue<1024> = RamQueue::new())?;
                black_box(queue.recover());
                queue
            };
            #[cfg(feature = "size-flash")]
            let critical = {
                let queue = FlashQueue::open(Flash, 0..1 << 16).ok()?.0;
                cortex_m::singleton!(APPLICATION_FLASH: Option<FlashQueue<Flash, 600>> = None)?.insert(queue)
            };
            let buffers =
                cortex_m::singleton!(APPLICATION_BUFFERS: Buffers<BODY, BODY, { frame_bytes(BODY) }> = Buffers::new())?;
            let device = cortex_m::singleton!(: Option<Device<'static>> = None)?;
            let device = device.insert(Device::new(&settings, [critical, samples], buffers));
            #[cfg(feature = "size-crash")]
            if let Some(crash) = crash::cell().take() {
                let message = crash.message();
                let breakdown = Breakdown { code: crash.kind.code(), severity: Severity::Fatal, message: &message };
                device.append(1, SUBJECT, &Body::Breakdown(breakdown));
            }
            #[cfg(not(feature = "size-crash"))]
            {
                let breakdown = Breakdown { code: "E1", severity: Severity::Fatal, message: black_box("text") };
                device.append(1, SUBJECT, &Body::Breakdown(breakdown));
            }
            loop {
                device.poll(black_box(1), &APPLICATION_RECORDER, &mut Line);
            }
        }

        #[cfg(feature = "size-crash")]
        mod crash {
            use core::mem::MaybeUninit;
            use core::panic::PanicInfo;

            use afferent_firmware::crash::{CrashCell, CrashKind, Registers};
            use cortex_m_rt::{ExceptionFrame, exception};

            #[unsafe(link_section = ".uninit.CRASH")]
            static mut CRASH: MaybeUninit<CrashCell> = MaybeUninit::uninit();

            pub fn cell() -> &'static mut CrashCell {
                // SAFETY: any bytes are a valid cell, and this program is never run.
                unsafe { &mut *core::ptr::addr_of_mut!(CRASH).cast::<CrashCell>() }
            }

            #[panic_handler]
            fn panic(info: &PanicInfo<'_>) -> ! {
                #[cfg(not(feature = "size-words"))]
                cell().panic(info, &Registers::default());
                #[cfg(feature = "size-words")]
                cell().panic_in_words(info, &Registers::default());
                cortex_m::peripheral::SCB::sys_reset()
            }

            #[exception]
            unsafe fn HardFault(frame: &ExceptionFrame) -> ! {
                let registers = Registers { pc: frame.pc(), lr: frame.lr(), ..Registers::default() };
                cell().fault(CrashKind::of_fault(registers.pc), &registers);
                cortex_m::peripheral::SCB::sys_reset()
            }
        }
    }
}
