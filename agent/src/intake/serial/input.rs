//! Serial lines of a configuration as inputs. Devices come and go: a line that is not there is no reason to refuse a
//! configuration.

use std::collections::BTreeSet;

use afferent_host::stop::Stop;
use afferent_protocol::ids::SourceId;
use rustix::fs::{Access, access};
use serde::Deserialize;

use super::port::Address;
use super::{SerialMetrics, SerialSettings, run};
use crate::intake::input::{Home, Input, Ways};
use crate::intake::sink::DeviceSink;
use crate::limits::SERIAL_PORTS_MAX;
use crate::section::{Key, Value, optional};
use crate::supervise::{Ended, endless};

/// The section `[[intake.serial]]`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SerialConfig {
    /// The address of the line.
    pub port: Address,
    /// Bits a second.
    #[serde(default = "baud_of_firmware")]
    pub baud: u32,
    /// The name that the device must have.
    pub device: SourceId,
}

const fn baud_of_firmware() -> u32 {
    115_200
}

/// A line with a device, which opens its port itself, again and again.
#[derive(Debug)]
pub struct Line(SerialSettings);

impl Input for Line {
    type Section = Vec<SerialConfig>;
    type Config = SerialSettings;
    type Shared = ();

    const REPEATS: bool = true;
    const HELP: &'static str = "A microcontroller with Afferent's firmware on a serial line. May be repeated.";
    #[rustfmt::skip]
    const KEYS: &'static [Key] = &[
        optional("port", Value::Text, "\"/dev/ttyUSB0\"", "The serial port, or tcp://HOST:PORT, or unix:/PATH. \
                                                           Required."),
        optional("baud", Value::Whole(50, 4_000_000), "115200", "Bits per second. Default: 115200."),
        optional("device", Value::Text, "\"spindle-1\"", "The name that the device must have. Required."),
    ];

    fn check(section: &Vec<SerialConfig>, home: &Home) -> Result<(), String> {
        if section.len() > SERIAL_PORTS_MAX {
            return Err(format!(
                "`intake.serial` is listed {} times; at most {SERIAL_PORTS_MAX} are allowed",
                section.len()
            ));
        }
        let (mut ports, mut devices) = (BTreeSet::new(), BTreeSet::new());
        for SerialConfig { port, device, .. } in section {
            if !ports.insert(port) {
                return Err(format!("`intake.serial.port` \"{port}\" is listed twice; a line has one device"));
            }
            if !devices.insert(device) {
                return Err(format!(
                    "`intake.serial.device` {device:?} is listed twice; give each device a name of its own"
                ));
            }
            if *device == home.agent {
                return Err(format!(
                    "`intake.serial.device` {device:?} is the agent's own name; choose a different name"
                ));
            }
        }
        Ok(())
    }

    fn inputs(section: &Vec<SerialConfig>, home: &Home) -> Vec<(String, SerialSettings)> {
        let one = |SerialConfig { port, baud, device }: &SerialConfig| {
            let settings = SerialSettings { agent: home.agent, device: *device, port: port.clone(), baud: *baud };
            (device.to_string(), settings)
        };
        section.iter().map(one).collect()
    }

    fn look(config: &SerialSettings, _: &Home) -> Result<(), String> {
        match &config.port {
            Address::Device(path) | Address::Unix(path) => access(path, Access::READ_OK | Access::WRITE_OK)
                .map_err(|error| format!("`intake.serial.port` {}: {error}; is it plugged in?", path.display())),
            Address::Tcp(_) => Ok(()),
        }
    }

    async fn open(config: &SerialSettings, (): &()) -> Result<Self, String> {
        Ok(Self(config.clone()))
    }

    async fn run<S: DeviceSink>(self, ways: Ways<S>, stop: Stop) -> Ended {
        let metrics = SerialMetrics::new(&ways.registry, self.0.device.as_str());
        run(self.0, ways.sink, ways.clock, metrics, stop.clone()).await;
        endless(&stop)
    }
}
