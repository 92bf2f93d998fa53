//! InfluxDB 1 and VictoriaMetrics: what takes line protocol, and gives back what it has.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

use serde_json::{Map, Value};

use super::{Folder, Process, free_address, get, wait_for};

/// The database of the tests.
pub const INFLUX_DATABASE: &str = "plant";
/// The administrator of a guarded server, and the password.
pub const INFLUX_LOGIN: (&str, &str) = ("afferent", "hush, a secret");

/// InfluxDB, which has nanoseconds and syncs before it answers. It can be killed and started again on its address.
#[derive(Debug)]
pub struct Influx {
    /// Where it listens.
    pub address: SocketAddr,
    config: PathBuf,
    log: PathBuf,
}

impl Influx {
    /// Its configuration.
    ///
    /// # Panics
    /// When its files cannot be written.
    pub fn new(folder: &Folder) -> Self {
        Self::with_auth(folder, false)
    }

    /// For its administrator alone.
    ///
    /// # Panics
    /// When its files cannot be written.
    pub fn guarded(folder: &Folder) -> Self {
        Self::with_auth(folder, true)
    }

    fn with_auth(folder: &Folder, auth: bool) -> Self {
        let address = free_address();
        let data = folder.join("influx");
        let at = |name: &str| data.join(name).display().to_string();
        let text = format!(
            "reporting-disabled = true\nbind-address = \"{}\"\n[meta]\ndir = {:?}\n[data]\ndir = {:?}\nwal-dir = {:?}\n\
             [http]\nbind-address = \"{address}\"\nauth-enabled = {auth}\nlog-enabled = false\n\
             [monitor]\nstore-enabled = false\n",
            free_address(),
            at("meta"),
            at("data"),
            at("wal"),
        );
        let config = folder.join("influx.conf");
        std::fs::write(&config, text).expect("the folder can be written");
        Self { address, config, log: folder.join("influx.log") }
    }

    /// Starts it and waits until it answers.
    pub fn start(&self) -> Process {
        let mut command = Command::new("influxd");
        let process = Process::start("influxd", command.arg("-config").arg(&self.config), &self.log);
        wait_for("InfluxDB answers", || get(self.address, "/ping").ok());
        process
    }

    /// The results of a statement.
    ///
    /// # Panics
    /// When it refuses the statement.
    pub fn query(&self, statement: &str) -> Vec<Value> {
        let (user, password) = INFLUX_LOGIN;
        let request = ureq::post(format!("http://{}/query", self.address));
        let request = request.query("db", INFLUX_DATABASE).query("epoch", "ns").query("u", user).query("p", password);
        let mut answer = request.send_form([("q", statement)]).expect("it answers");
        let text = answer.body_mut().with_config().limit(1 << 30).read_to_string().expect("a text");
        let mut answer: Value = serde_json::from_str(&text).expect("the answer is JSON");
        assert!(answer["results"][0]["error"].is_null(), "{statement}: {answer}");
        answer["results"][0]["series"].take().as_array().cloned().unwrap_or_default()
    }

    /// Makes the database.
    pub fn create(&self) {
        self.query(&format!("CREATE DATABASE {INFLUX_DATABASE}"));
    }

    /// Writes lines as somebody else does; gives the status of the answer.
    ///
    /// # Panics
    /// When there is no answer.
    pub fn write(&self, lines: &str) -> u16 {
        let config = ureq::config::Config::builder().http_status_as_error(false).build();
        let request = config.new_agent().post(format!("http://{}/write", self.address));
        request.query("db", INFLUX_DATABASE).send(lines).expect("it answers").status().as_u16()
    }

    /// The names of all measurements.
    pub fn measurements(&self) -> Vec<String> {
        let series = self.query("SHOW MEASUREMENTS");
        let rows = series.iter().filter_map(|series| series["values"].as_array()).flatten();
        rows.filter_map(|row| row[0].as_str().map(str::to_owned)).collect()
    }

    /// All points of a measurement: tags and fields that they have, and `time` in nanoseconds.
    ///
    /// # Panics
    /// When the answer is not one of InfluxDB.
    pub fn points(&self, measurement: &str) -> Vec<Map<String, Value>> {
        let mut points = Vec::new();
        for series in self.query(&format!("SELECT * FROM \"{measurement}\"")) {
            let columns = series["columns"].as_array().expect("columns");
            for row in series["values"].as_array().expect("rows") {
                let named = columns.iter().zip(row.as_array().expect("a row"));
                let present = named.filter(|(_, value)| !value.is_null());
                points.push(
                    present.map(|(name, value)| (name.as_str().expect("a name").to_owned(), value.clone())).collect(),
                );
            }
        }
        points
    }
}

/// VictoriaMetrics, which has numbers and milliseconds, and keeps what it has taken in memory for some seconds.
#[derive(Debug)]
pub struct VictoriaMetrics {
    /// Where it listens.
    pub address: SocketAddr,
    data: PathBuf,
    log: PathBuf,
}

/// A series of VictoriaMetrics.
#[derive(Clone, Debug)]
pub struct Metric {
    /// Its name and labels.
    pub labels: Map<String, Value>,
    /// Its points: a time in milliseconds and a value.
    pub points: Vec<(i64, f64)>,
}

impl VictoriaMetrics {
    /// An empty one.
    pub fn new(folder: &Folder) -> Self {
        Self { address: free_address(), data: folder.join("victoria"), log: folder.join("victoria.log") }
    }

    /// Starts it and waits until it answers.
    pub fn start(&self) -> Process {
        let mut command = Command::new("victoria-metrics");
        command.arg(format!("-httpListenAddr={}", self.address));
        command.arg(format!("-storageDataPath={}", self.data.display()));
        // By default points that are older than a month are taken, and not there.
        command.arg("-retentionPeriod=100y");
        let process = Process::start("victoria-metrics", &mut command, &self.log);
        wait_for("VictoriaMetrics answers", || get(self.address, "/health").ok());
        process
    }

    /// All series whose name fits a regular expression.
    ///
    /// # Panics
    /// When the answer is not one of VictoriaMetrics.
    pub fn series(&self, names: &str) -> Vec<Metric> {
        get(self.address, "/internal/force_flush").expect("it answers");
        let request = ureq::get(format!("http://{}/api/v1/export", self.address));
        let request = request.query("match[]", format!("{{__name__=~\"{names}\"}}")).query("start", "0");
        let mut answer = request.call().expect("it answers");
        let text = answer.body_mut().with_config().limit(1 << 30).read_to_string().expect("a text");
        text.lines().map(|line| metric(&serde_json::from_str(line).expect("a series"))).collect()
    }
}

fn metric(series: &Value) -> Metric {
    let list = |name: &str| series[name].as_array().expect("a list").clone();
    let (times, values) = (list("timestamps"), list("values"));
    assert_eq!(times.len(), values.len());
    let point =
        |(time, value): (&Value, &Value)| (time.as_i64().expect("milliseconds"), value.as_f64().expect("a number"));
    let labels = series["metric"].as_object().expect("labels").clone();
    Metric { labels, points: times.iter().zip(&values).map(point).collect() }
}
