//! InfluxDB's line protocol: samples a second to a real server, and to one that only reads.

use std::time::Instant;

use afferent_tests::process::{
    Folder, Hook, HookServer, Rig, VictoriaMetrics, order_forward, report_forward, wait_delivered, wait_for,
};

use super::append;
use crate::table::{Must, Table};

const NAME: &str = "points";
const SAMPLES: u64 = 2_000_000;

pub fn measure(table: &mut Table) {
    let folder = Folder::new("bench-influx");
    let victoria = VictoriaMetrics::new(&folder);
    let _victoria = victoria.start();
    let server = HookServer::start();
    server.decide(|_| Hook::Forget);
    for (figure, address, must) in [
        ("InfluxDB: samples to a server that only reads", server.address, Must::Least(500_000.0)),
        ("… to VictoriaMetrics", victoria.address, Must::Shown),
    ] {
        let mut rig = Rig::new("bench-influx-rig");
        rig.collector_extra = format!(
            "[[forward]]\nname = \"{NAME}\"\n[forward.influx]\nurl = \"http://{address}\"\nbucket = \"plant\"\n\
             allow = [\"127.0.0.1\"]\ntimeout_s = 60\n"
        );
        let (_collector, agent) = (rig.start_collector(), rig.start_agent());
        rig.wait_healthy();
        order_forward(&rig, NAME, "pause", None);
        append(&rig, SAMPLES);
        assert!(agent.terminate().success(), "it stops");
        let delivered = || report_forward(&rig, NAME).and_then(|report| report["delivered"].as_u64()).unwrap_or(0);
        let before = delivered();
        let begun = Instant::now();
        order_forward(&rig, NAME, "resume", None);
        wait_for("the samples are there", || (delivered() >= before + SAMPLES).then_some(()));
        table.add(figure, SAMPLES as f64 / begun.elapsed().as_secs_f64(), "samples/s", must);
        wait_delivered(&rig, NAME);
    }
}
