//! Headless Chromium, driven by WebDriver (W3C) through chromedriver.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};

use super::{Folder, Process, free_address, wait_for};

/// How long one command may take on a loaded machine.
const COMMAND_TIME: Duration = Duration::from_secs(120);

/// How a page is looked at.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    /// Goes into the names of screenshots.
    pub name: &'static str,
    width: u32,
    height: u32,
    is_dark: bool,
}

/// A desk, by day and by night, and a phone.
pub const LOOKS: [Look; 3] = [
    Look { name: "desk-light", width: 1280, height: 900, is_dark: false },
    Look { name: "desk-dark", width: 1280, height: 900, is_dark: true },
    Look { name: "phone-light", width: 360, height: 740, is_dark: false },
];

/// A browser with one window.
#[derive(Debug)]
pub struct Browser {
    agent: ureq::Agent,
    /// Of the session, at the driver.
    url: String,
    shots: PathBuf,
    // Ended before its folder goes: the driver takes the browser with it.
    _driver: Process,
    _folder: Folder,
}

impl Browser {
    /// Starts one; its screenshots go to this folder.
    pub fn start(name: &str, shots: &Path) -> Self {
        Self::start_with(name, shots, &[])
    }

    /// Starts one with more arguments.
    pub fn start_with(name: &str, shots: &Path, more: &[&str]) -> Self {
        let folder = Folder::new(name);
        let address = free_address();
        let mut command = Command::new("chromedriver");
        command.arg(format!("--port={}", address.port())).env("TMPDIR", folder.path()).env("HOME", folder.path());
        let driver = Process::start("chromedriver", &mut command, &folder.join("chromedriver.log"));
        let config = ureq::Agent::config_builder().timeout_global(Some(COMMAND_TIME)).http_status_as_error(false);
        let agent: ureq::Agent = config.build().into();
        let at = format!("http://{address}");
        wait_for("chromedriver answers", || agent.get(format!("{at}/status")).call().ok());
        let profile = format!("--user-data-dir={}", folder.join("profile").display());
        let all = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"];
        let arguments: Vec<&str> = all.into_iter().chain([profile.as_str()]).chain(more.iter().copied()).collect();
        let options = json!({ "args": arguments });
        let wanted = json!({ "browserName": "chrome", "goog:loggingPrefs": { "browser": "ALL" }, "goog:chromeOptions": options });
        let asked = json!({ "capabilities": { "alwaysMatch": wanted } });
        let session = said(agent.post(format!("{at}/session")).send_json(&asked));
        let id = session["sessionId"].as_str().expect("a session has an id");
        std::fs::create_dir_all(shots).expect("the folder for screenshots can be made");
        Self { url: format!("{at}/session/{id}"), agent, shots: shots.to_owned(), _driver: driver, _folder: folder }
    }

    fn ask(&self, command: &str, body: &Value) -> Value {
        said(self.agent.post(format!("{}/{command}", self.url)).send_json(body))
    }

    fn devtools(&self, command: &str, parameters: Value) -> Value {
        self.ask("goog/cdp/execute", &json!({ "cmd": command, "params": parameters }))
    }

    /// Goes to an address, as a new page.
    pub fn go(&self, url: &str) {
        // A change behind the # alone would load nothing.
        self.ask("url", &json!({ "url": "about:blank" }));
        self.ask("url", &json!({ "url": url }));
    }

    /// What a script in the page gives back.
    pub fn run(&self, script: &str) -> Value {
        self.ask("execute/sync", &json!({ "script": script, "args": [] }))
    }

    /// Waits until an expression is true in the page.
    pub fn wait(&self, expression: &str) {
        wait_for(expression, || (self.run(&format!("return Boolean({expression})")) == true).then_some(()));
    }

    /// Presses a key, or writes a text, where the focus is.
    pub fn press(&self, keys: &str) {
        let element = self.run("return document.activeElement");
        let id = element.as_object().and_then(|element| element.values().next()).and_then(Value::as_str);
        self.ask(&format!("element/{}/value", id.expect("something has the focus")), &json!({ "text": keys }));
    }

    /// Takes on a look.
    pub fn look(&self, look: Look) {
        let size =
            json!({ "width": look.width, "height": look.height, "deviceScaleFactor": 1, "mobile": look.width < 500 });
        self.devtools("Emulation.setDeviceMetricsOverride", size);
        let scheme = if look.is_dark { "dark" } else { "light" };
        let features = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        self.devtools("Emulation.setEmulatedMedia", features);
    }

    /// Shows the page as it is printed.
    pub fn on_paper(&self) {
        self.devtools("Emulation.setEmulatedMedia", json!({ "media": "print" }));
    }

    /// Loads everything anew with every page, as the first time.
    pub fn forget_files(&self) {
        self.devtools("Network.enable", json!({}));
        self.devtools("Network.setCacheDisabled", json!({ "cacheDisabled": true }));
    }

    /// Keeps a picture of the whole page in the folder for screenshots.
    pub fn shoot(&self, name: &str) {
        let size = self.devtools("Page.getLayoutMetrics", json!({}))["cssContentSize"].clone();
        let height = size["height"].as_f64().unwrap_or(900.0).min(4000.0);
        let clip = json!({ "x": 0, "y": 0, "width": size["width"], "height": height, "scale": 1 });
        let asked = json!({ "format": "png", "captureBeyondViewport": true, "clip": clip });
        let picture = self.devtools("Page.captureScreenshot", asked);
        let picture = picture["data"].as_str().expect("a picture is a text");
        let picture = BASE64.decode(picture).expect("a picture is told in base64");
        std::fs::write(self.shots.join(format!("{name}.png")), picture)
            .expect("the folder for screenshots can be written");
    }

    /// What the console was told since the last call: errors, warnings and breaches of the policy, each with its source
    /// (`network`, `javascript`, `security`, `console-api`, …).
    pub fn complaints(&self) -> Vec<String> {
        let log = self.ask("se/log", &json!({ "type": "browser" }));
        let entries = log.as_array().expect("the log is a list").iter();
        let severe = entries.filter(|entry| matches!(entry["level"].as_str(), Some("SEVERE" | "WARNING")));
        severe.map(|entry| format!("{}: {}", text(&entry["source"]), text(&entry["message"]))).collect()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Killing the driver alone would leave the browser behind.
        let _ = self.agent.delete(&self.url).call();
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn said(answer: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> Value {
    let mut answer = answer.expect("chromedriver answers");
    // Pictures are larger than what is read by default.
    let body = answer.body_mut().with_config().limit(64 << 20).read_to_string().expect("an answer has a body");
    let body: Value = serde_json::from_str(&body).expect("an answer is JSON");
    assert!(answer.status().is_success(), "the browser refuses: {}", body["value"]["message"]);
    body["value"].clone()
}
