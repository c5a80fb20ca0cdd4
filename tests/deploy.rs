//! What lies in `deploy/` and docs/operations.md: checked with the programs that will read it, as far as they run here.
#![allow(clippy::expect_used, clippy::panic)]

#[path = "common/program.rs"]
mod program;
#[path = "common/servers.rs"]
mod servers;

use std::path::Path;
use std::process::Command;

use program::{stillair, stillair_with};
use serde_json::Value;
use servers::{Nats, python};
use stillair::telemetry::Metrics;

fn check(script: &str, arguments: &[&str]) {
    check_with(&[], script, arguments);
}

fn check_with(environment: &[(&str, &str)], script: &str, arguments: &[&str]) {
    let Some(python) = python() else { return };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python").join(script);
    let mut command = Command::new(python);
    let output =
        command.arg(&script).args(arguments).envs(environment.iter().copied()).output().expect("Python starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{} {arguments:?}:\n{said}", script.display());
    eprint!("{said}");
}

macro_rules! checks {
    ($($name:ident)*) => {
        $(#[test] fn $name() { check("check_deploy.py", &[stringify!($name)]); })*
    };
}

checks! { settings systemd container kubernetes compose nats prometheus grafana handbook }

/// Files broken on purpose: each check must say so.
#[test]
fn each_check_can_fail() {
    check("break_deploy.py", &[]);
}

/// The metrics that the checks of dashboard and rules go by are those of the program.
#[test]
fn dashboard_and_rules_ask_for_metrics_of_the_program() {
    let metrics = Metrics::new().expect("metrics");
    metrics.inference_device_info.with_label_values(&["xdense", "cpu", "1.31.1"]).set(1);
    let file = tempfile::NamedTempFile::new().expect("file");
    std::fs::write(file.path(), metrics.render()).expect("written");
    let url = format!("file://{}", file.path().display());
    check_with(&[("STILLAIR_METRICS_URL", url.as_str())], "check_deploy.py", &["metrics", "prometheus", "grafana"]);
}

/// The program itself reads the configurations of `deploy/`.
#[test]
fn the_program_takes_the_configurations() {
    for file in ["deploy/stillair.toml", "deploy/container/stillair.toml", "deploy/kubernetes/base/stillair.toml"] {
        stillair(&["config", "check", "--config", file]).exit(0);
    }
    // A key that nobody knows must be refused, or the loop above shows nothing.
    stillair_with(&[("STILLAIR__BUS__URLL", "nats://x")], &["config", "check", "--config", "deploy/stillair.toml"])
        .exit(64);
}

fn read(file: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).expect(file)
}

/// As the user that `nats-server.conf` has for it, the program may make its streams and consumer, and they are those of the files.
#[test]
fn the_program_provisions_what_the_files_say() {
    let conf = read("deploy/nats/nats-server.conf");
    let accounts = conf[conf.find("\naccounts {").expect("accounts")..].replace("$NATS_", "").replace("_PASSWORD", "");
    let folder = tempfile::tempdir().expect("folder");
    let Some(nats) = Nats::start(folder.path(), &accounts) else { return };
    let url = nats.url();
    let provision = |user: &str, password: &str, command: &[&str]| {
        let settings = [
            ("STILLAIR__BUS__URL", url.as_str()),
            ("STILLAIR__BUS__USER", user),
            ("STILLAIR__BUS__PASSWORD", password),
        ];
        stillair_with(&settings, command)
    };
    provision("reader", "READER", &["bus", "provision"]).exit(1);
    provision("stillair", "STILLAIR", &["bus", "provision"]).exit(0);
    provision("stillair", "STILLAIR", &["bus", "provision"]).exit(0);
    provision("stillair", "STILLAIR", &["deadletter", "list"]).exit(0);

    let state = nats.state();
    let account = state["account_details"].as_array().expect("accounts").iter().find(|a| a["name"] == "STILLAIR");
    let streams = account.expect("the account")["stream_detail"].as_array().expect("streams").clone();
    assert_eq!(streams.len(), 3, "{state}");
    let same = |file: &str, made: &Value, keys: &[&str]| {
        let wanted: Value = serde_json::from_str(&read(file)).expect(file);
        for key in keys {
            assert!(!wanted[*key].is_null(), "{file} lacks {key}");
            assert_eq!(made[*key], wanted[*key], "{key} in {file}");
        }
    };
    for file in ["exposures", "catalogs", "dead_letters"].map(|name| format!("deploy/nats/{name}.stream.json")) {
        let wanted: Value = serde_json::from_str(&read(&file)).expect("JSON");
        let made = streams.iter().find(|stream| stream["name"] == wanted["name"]).expect("a stream of that name");
        // How long and how much is kept is the operator's choice.
        same(&file, &made["config"], &["name", "subjects", "retention", "storage", "duplicate_window"]);
    }
    let consumers = streams.iter().filter_map(|stream| stream["consumer_detail"].as_array()).flatten();
    let consumer = consumers.map(|consumer| &consumer["config"]).next().expect("a consumer");
    let keys = [
        "durable_name",
        "filter_subject",
        "deliver_policy",
        "ack_policy",
        "ack_wait",
        "max_deliver",
        "max_ack_pending",
        "replay_policy",
    ];
    same("deploy/nats/stillair.consumer.json", consumer, &keys);
}
