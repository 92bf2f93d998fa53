//! Mosquitto's bridge beside us: two brokers, the same events, settings under which it keeps what it takes.
//!
//! Its persistence writes everything once a second (`autosave_interval 1`): what came after that is lost with a power
//! cut or kill -9, while our figure counts events that were synced on both sides.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use afferent_tests::process::{Folder, Process, cpu_seconds, free_address, wait_for};
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::Packet;
use rumqttc::v5::{AsyncClient, Event, MqttOptions};
use tokio::sync::oneshot;

use crate::load::json_line;
use crate::table::{Must, Table};

const EVENTS: usize = 200_000;
/// A bridge that has not passed everything on by then never will.
const GIVE_UP: Duration = Duration::from_secs(180);

pub fn measure(table: &mut Table) {
    if Command::new("mosquitto").arg("-h").output().is_err() {
        eprintln!("bench: mosquitto is not installed (apt-get install mosquitto): left out");
        return;
    }
    let folder = Folder::new("bench-mosquitto");
    let (near, far) = (free_address(), free_address());
    let _far = broker(&folder, "far", far, None);
    let bridge = broker(&folder, "near", near, Some(far));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let (seconds, cpu) = runtime.block_on(async {
        let (subscribed, ready) = oneshot::channel();
        let counted = tokio::spawn(count(far, subscribed));
        ready.await.expect("the subscriber subscribes");
        let cpu = cpu_seconds(bridge.pid());
        let started = Instant::now();
        let all = async {
            publish(near).await;
            counted.await.expect("the subscriber counts");
        };
        tokio::time::timeout(GIVE_UP, all).await.expect("the bridge passes everything on");
        (started.elapsed().as_secs_f64(), cpu_seconds(bridge.pid()) - cpu)
    });
    table.add(
        "Mosquitto's bridge, tuned, autosave 1 s: the same events, one each message",
        EVENTS as f64 / seconds,
        "events/s",
        Must::Shown,
    );
    table.add("… CPU of the bridging broker per 1 M events", cpu * 1e6 / EVENTS as f64, "s", Must::Shown);
}

fn broker(folder: &Folder, name: &str, listen: SocketAddr, bridge_to: Option<SocketAddr>) -> Process {
    let data = folder.join(name);
    std::fs::create_dir_all(&data).expect("the folder can be made");
    let mut text = format!(
        "listener {} 127.0.0.1\nallow_anonymous true\npersistence true\npersistence_location {}/\n\
         autosave_interval 1\nmax_queued_messages 0\nmax_inflight_messages 0\nuser root\n",
        listen.port(),
        data.display(),
    );
    if let Some(far) = bridge_to {
        text += &format!(
            "connection bench\naddress {far}\ntopic # out 1\ncleansession false\nnotifications false\n\
             bridge_protocol_version mqttv311\ntry_private false\n"
        );
    }
    let config = folder.join(&format!("{name}.conf"));
    std::fs::write(&config, text).expect("the folder can be written");
    let log = folder.join(&format!("{name}.log"));
    let process = Process::start(name, Command::new("mosquitto").arg("-c").arg(Path::new(&config)), &log);
    wait_for("mosquitto listens", || std::net::TcpStream::connect(listen).ok());
    process
}

fn client(id: &str, address: SocketAddr) -> (AsyncClient, rumqttc::v5::EventLoop) {
    let mut options = MqttOptions::new(id, address.ip().to_string(), address.port());
    options.set_keep_alive(Duration::from_secs(60)).set_clean_start(true).set_max_packet_size(Some(1 << 20));
    AsyncClient::new(options, 1000)
}

async fn publish(near: SocketAddr) {
    let (client, mut events) = client("bench-publisher", near);
    let feed = tokio::spawn(async move {
        for number in 0..EVENTS {
            let line = json_line(number);
            client.publish("bench/samples", QoS::AtLeastOnce, false, line).await.expect("the client lives");
        }
    });
    let mut acked = 0;
    while acked < EVENTS {
        if let Event::Incoming(Packet::PubAck(_)) = events.poll().await.expect("the broker lives") {
            acked += 1;
        }
    }
    feed.await.expect("everything was published");
}

/// Counts what arrives; says when its subscription stands, for what came before it would be nobody's.
async fn count(far: SocketAddr, subscribed: oneshot::Sender<()>) {
    let (client, mut events) = client("bench-subscriber", far);
    client.subscribe("bench/samples", QoS::AtLeastOnce).await.expect("the client lives");
    let mut subscribed = Some(subscribed);
    let mut seen = 0;
    while seen < EVENTS {
        match events.poll().await.expect("the broker lives") {
            Event::Incoming(Packet::Publish(_)) => seen += 1,
            Event::Incoming(Packet::SubAck(_)) => {
                let subscribed = subscribed.take().expect("there is one subscription");
                subscribed.send(()).expect("somebody waits for it");
            }
            _ => {}
        }
    }
}
