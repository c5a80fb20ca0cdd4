//! What lies in `deploy/` and docs/operations.md: checked with the programs that will read it, as far as they run here.
#![allow(clippy::expect_used, clippy::panic)]

#[path = "common/program.rs"]
mod program;
#[path = "common/servers.rs"]
mod servers;

use std::path::Path;
use std::process::Command;

use program::{stillair, stillair_with};
use servers::python;

fn check(script: &str, arguments: &[&str]) {
    let Some(python) = python() else { return };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python").join(script);
    let output = Command::new(python).arg(&script).args(arguments).output().expect("Python starts");
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

/// The program itself reads the configurations of `deploy/`.
#[test]
fn the_program_takes_the_configurations() {
    if !stillair(&["config", "show"]).exit(0).out.contains("[bus]") {
        eprintln!("SKIPPED: this build has no [bus]");
        return;
    }
    for file in ["deploy/stillair.toml", "deploy/container/stillair.toml", "deploy/kubernetes/base/stillair.toml"] {
        stillair(&["config", "check", "--config", file]).exit(0);
    }
    // A key that nobody knows must be refused, or the loop above shows nothing.
    stillair_with(&[("STILLAIR__BUS__URLL", "nats://x")], &["config", "check", "--config", "deploy/stillair.toml"])
        .exit(64);
}
