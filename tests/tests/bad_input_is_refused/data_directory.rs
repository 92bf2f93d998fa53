//! A data directory belongs to one process at a time.

use afferent_tests::process::{Rig, free_address, run_to_end};

#[test]
fn an_agents_data_directory_in_use_is_refused_and_the_refusal_names_the_process() {
    let mut rig = Rig::new("agent-twice");
    let _collector = rig.start_collector();
    let agent = rig.start_agent();
    let http = std::mem::replace(&mut rig.agent_http, free_address());
    let (status, printed) = run_to_end(&mut rig.agent_command());
    assert!(!status.success(), "two agents write one ring");
    let directory = rig.agent_data().display().to_string();
    let process = format!("in use by process {}", agent.pid());
    assert!(printed.contains(&directory) && printed.contains(&process), "{printed}");
    rig.agent_http = http;
    rig.break_down("undisturbed");
    rig.wait_logged("undisturbed");
    // The control: when the first is gone, in whatever way, the directory is free.
    agent.kill();
    let _agent = rig.start_agent();
}

#[test]
fn a_collectors_data_directory_in_use_is_refused_and_the_refusal_names_the_process() {
    let mut rig = Rig::new("collector-twice");
    let collector = rig.start_collector();
    let _agent = rig.start_agent();
    let (endpoint, http) = (rig.endpoint, rig.http);
    (rig.endpoint, rig.http) = (free_address(), free_address());
    let (status, printed) = run_to_end(&mut rig.collector_command());
    assert!(!status.success(), "two collectors write one log");
    let directory = rig.collector_data().display().to_string();
    let process = format!("in use by process {}", collector.pid());
    assert!(printed.contains(&directory) && printed.contains(&process), "{printed}");
    (rig.endpoint, rig.http) = (endpoint, http);
    rig.break_down("undisturbed");
    rig.wait_logged("undisturbed");
    collector.kill();
    let _collector = rig.start_collector();
}
