//! Apache Kafka of one node, and what an independent reader finds in its topics.

use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, AlterConfig, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::DefaultClientContext;
use serde_json::Value;

use super::{Authority, Certificate, Folder, Process, free_address, run_to_end, target_folder, wait_for};

/// A broker that can be killed and started again on its address and its data.
#[derive(Debug)]
pub struct Kafka {
    /// Where it listens.
    pub address: SocketAddr,
    config: PathBuf,
    log: PathBuf,
    jars: String,
    /// What the broker wants of a client that may do anything, as settings of librdkafka.
    login: Vec<(&'static str, String)>,
}

/// A record as kcat prints it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KafkaRecord {
    /// Its partition.
    pub partition: i64,
    /// Its offset there.
    pub offset: i64,
    /// Its time in milliseconds.
    pub timestamp_ms: i64,
    /// Its key.
    pub key: String,
    /// Names and values of its headers.
    pub headers: Vec<(String, String)>,
    /// Its value, if it has one.
    pub value: Option<String>,
}

impl KafkaRecord {
    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// Which records a reader returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isolation {
    /// Those of committed transactions.
    Committed,
    /// Also those of aborted and open ones.
    Uncommitted,
}

/// Any identity of a cluster.
const CLUSTER: &str = "5L6g3nShT-eMCtK--X86sw";
/// A cluster that one node is enough for.
const SINGLE: &str = "process.roles=broker,controller\nnode.id=1\ncontroller.listener.names=CONTROLLER\n\
    inter.broker.listener.name=PLAINTEXT\nauto.create.topics.enable=false\noffsets.topic.replication.factor=1\n\
    offsets.topic.num.partitions=4\ntransaction.state.log.replication.factor=1\ntransaction.state.log.min.isr=1\n\
    transaction.state.log.num.partitions=8\nshare.coordinator.state.topic.replication.factor=1\n\
    share.coordinator.state.topic.min.isr=1\ngroup.initial.rebalance.delay.ms=0\n\
    transaction.abort.timed.out.transaction.cleanup.interval.ms=500\n";

impl Kafka {
    /// Its configuration; anybody may do anything.
    pub fn new(folder: &Folder) -> Self {
        Self::with(
            folder,
            free_address(),
            "listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT\n",
            Vec::new(),
            &[],
        )
    }

    /// It listens at `address`, and clients reach it at another one: a proxy's.
    pub fn behind(folder: &Folder, address: SocketAddr, advertised: SocketAddr) -> Self {
        let map = format!(
            "listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT\n\
             advertised.listeners=PLAINTEXT://{advertised}\n"
        );
        Self::with(folder, address, &map, Vec::new(), &[])
    }

    /// With logins: `admin` may do anything, the others nothing unless a rule allows it.
    pub fn guarded(folder: &Folder, logins: &[(&str, &str)]) -> Self {
        let users: String = logins.iter().map(|(user, password)| format!(" user_{user}=\"{password}\"")).collect();
        let extra = format!(
            "listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:SASL_PLAINTEXT\n\
             sasl.enabled.mechanisms=PLAIN\nsasl.mechanism.inter.broker.protocol=PLAIN\n\
             listener.name.plaintext.plain.sasl.jaas.config=\
             org.apache.kafka.common.security.plain.PlainLoginModule required username=\"admin\" password=\"admin\" \
             user_admin=\"admin\"{users};\n\
             authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer\n\
             super.users=User:admin;User:ANONYMOUS\n"
        );
        let login = vec![
            ("security.protocol", "sasl_plaintext".to_owned()),
            ("sasl.mechanism", "PLAIN".to_owned()),
            ("sasl.username", "admin".to_owned()),
            ("sasl.password", "admin".to_owned()),
        ];
        Self::with(folder, free_address(), &extra, login, &[])
    }

    /// With certificates of this authority on both sides, and one login, by SCRAM, which may do anything. Administrators
    /// log in by PLAIN: the reader of Debian 12 fails at SCRAM.
    ///
    /// # Panics
    /// When the files cannot be written.
    pub fn secured(folder: &Folder, authority: &Authority, user: &str, password: &str) -> Self {
        const MECHANISM: &str = "SCRAM-SHA-512";
        let Certificate { cert, key } = authority.issue("broker");
        let store = folder.join("broker-store.pem");
        let read = |path| std::fs::read_to_string(path).expect("the authority has written it");
        std::fs::write(&store, read(&key) + &read(&cert)).expect("the folder can be written");
        let (store, ca) = (store.display(), authority.ca.display());
        let extra = format!(
            "listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:SASL_SSL\n\
             ssl.keystore.type=PEM\nssl.keystore.location={store}\nssl.truststore.type=PEM\n\
             ssl.truststore.location={ca}\nlistener.name.plaintext.ssl.client.auth=required\n\
             sasl.enabled.mechanisms={MECHANISM},PLAIN\nsasl.mechanism.inter.broker.protocol=PLAIN\n\
             listener.name.plaintext.scram-sha-512.sasl.jaas.config=\
             org.apache.kafka.common.security.scram.ScramLoginModule required;\n\
             listener.name.plaintext.plain.sasl.jaas.config=\
             org.apache.kafka.common.security.plain.PlainLoginModule required username=\"admin\" password=\"admin\" \
             user_admin=\"admin\";\n"
        );
        let own = authority.issue("reader");
        let login = vec![
            ("security.protocol", "sasl_ssl".to_owned()),
            ("ssl.ca.location", ca.to_string()),
            ("ssl.certificate.location", own.cert.display().to_string()),
            ("ssl.key.location", own.key.display().to_string()),
            ("sasl.mechanism", "PLAIN".to_owned()),
            ("sasl.username", "admin".to_owned()),
            ("sasl.password", "admin".to_owned()),
        ];
        let added = format!("{MECHANISM}=[name={user},password={password}]");
        Self::with(folder, free_address(), &extra, login, &["--add-scram", &added])
    }

    fn with(
        folder: &Folder,
        address: SocketAddr,
        extra: &str,
        login: Vec<(&'static str, String)>,
        format_with: &[&str],
    ) -> Self {
        let jars = target_folder().join("kafka/lib");
        assert!(jars.is_dir(), "Kafka is missing in {}: run tests/setup", jars.display());
        let jars = format!("{}/*", jars.display());
        let (controller, data) = (free_address(), folder.join("kafka"));
        let advertised = if extra.contains("advertised") {
            String::new()
        } else {
            format!("advertised.listeners=PLAINTEXT://{address}\n")
        };
        let text = format!(
            "{SINGLE}controller.quorum.voters=1@{controller}\n\
             listeners=PLAINTEXT://{address},CONTROLLER://{controller}\n{advertised}log.dirs={}\n{extra}",
            data.display()
        );
        let config = folder.join("kafka.properties");
        std::fs::write(&config, text).expect("the folder can be written");
        let kafka = Self { address, config, log: folder.join("kafka.log"), jars, login };
        let mut format = kafka.java("kafka.tools.StorageTool");
        format.args(["format", "-t", CLUSTER, "-c"]).arg(&kafka.config).args(format_with);
        let (status, printed) = run_to_end(&mut format);
        assert!(status.success(), "Kafka's directory cannot be formatted: {printed}");
        kafka
    }

    fn java(&self, class: &str) -> Command {
        let mut command = Command::new("java");
        command.args(["-Xmx384m", "-Xms64m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]);
        command.args(["-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp", &self.jars, class]);
        command
    }

    /// Starts it, and does not wait.
    pub fn launch(&self) -> Process {
        let mut command = self.java("kafka.Kafka");
        command.arg(&self.config);
        Process::start("kafka", &mut command, &self.log)
    }

    /// Starts it and waits until it takes connections.
    pub fn start(&self) -> Process {
        let process = self.launch();
        self.wait_up();
        process
    }

    /// Waits until it takes connections.
    pub fn wait_up(&self) {
        wait_for("Kafka takes connections", || TcpStream::connect(self.address).ok());
    }

    fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", self.address.to_string());
        for (name, value) in &self.login {
            config.set(*name, value);
        }
        config
    }

    /// Runs an order of an administrator to its end.
    fn administer<F: Future>(
        &self,
        order: impl FnOnce(AdminClient<DefaultClientContext>, AdminOptions) -> F,
    ) -> F::Output {
        let admin = self.client().create().expect("the client can be set up");
        let time = Some(Duration::from_secs(60));
        let options = AdminOptions::new().request_timeout(time).operation_timeout(time);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        runtime.expect("a runtime can be made").block_on(order(admin, options))
    }

    /// Makes a topic with these settings.
    ///
    /// # Panics
    /// When Kafka refuses it.
    pub fn create(&self, topic: &str, partitions: i32, settings: &[(&str, &str)]) {
        let new = NewTopic::new(topic, partitions, TopicReplication::Fixed(1));
        let new = settings.iter().fold(new, |new, (name, value)| new.set(name, value));
        self.administer(async |admin, options| {
            let made = admin.create_topics(&[new], &options).await.expect("Kafka answers");
            made.into_iter().for_each(|made| _ = made.expect("the topic can be made"));
        });
    }

    /// Sets a topic's only own setting.
    ///
    /// # Panics
    /// When Kafka refuses it.
    pub fn alter(&self, topic: &str, name: &str, value: &str) {
        self.administer(async |admin, options| {
            let change = AlterConfig::new(ResourceSpecifier::Topic(topic)).set(name, value);
            let made = admin.alter_configs(&[change], &options).await.expect("Kafka answers");
            made.into_iter().for_each(|made| _ = made.expect("the setting can be made"));
        });
    }

    /// Deletes a topic, and waits until it is gone.
    ///
    /// # Panics
    /// When Kafka refuses it.
    pub fn delete(&self, topic: &str) {
        self.administer(async |admin, options| {
            let made = admin.delete_topics(&[topic], &options).await.expect("Kafka answers");
            made.into_iter().for_each(|made| _ = made.expect("the topic can be deleted"));
        });
    }

    /// Settings of a client that connects as the administrator, to be completed.
    pub fn client_settings(&self) -> ClientConfig {
        self.client()
    }

    /// Everything in a topic, by partition and offset, as kcat reads it; nothing if there is no such topic.
    ///
    /// # Panics
    /// When kcat fails.
    pub fn read(&self, topic: &str, isolation: Isolation) -> Vec<KafkaRecord> {
        let isolation = match isolation {
            Isolation::Committed => "read_committed",
            Isolation::Uncommitted => "read_uncommitted",
        };
        let mut command = Command::new("kcat");
        command.args(["-b", &self.address.to_string(), "-X", &format!("isolation.level={isolation}")]);
        for (name, value) in &self.login {
            command.args(["-X", &format!("{name}={value}")]);
        }
        command.args(["-C", "-t", topic, "-o", "beginning", "-e", "-q", "-J"]);
        let (status, printed) = run_to_end(&mut command);
        if printed.contains("Unknown topic or partition") {
            return Vec::new();
        }
        assert!(status.success(), "kcat: {printed}");
        let lines = printed.lines().filter(|line| line.starts_with('{'));
        let records = lines.map(|line| record(&serde_json::from_str(line).expect("kcat prints JSON")));
        let mut records: Vec<_> = records.collect();
        records.sort_by_key(|record| (record.partition, record.offset));
        records
    }
}

/// A record from a line of kcat.
fn record(line: &Value) -> KafkaRecord {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let headers: Vec<String> = line["headers"].as_array().map(|all| all.iter().map(text).collect()).unwrap_or_default();
    KafkaRecord {
        partition: line["partition"].as_i64().expect("a number"),
        offset: line["offset"].as_i64().expect("a number"),
        timestamp_ms: line["ts"].as_i64().expect("a number"),
        key: text(&line["key"]),
        headers: headers.chunks_exact(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect(),
        value: line["payload"].as_str().map(str::to_owned),
    }
}
