//! Compiling the tests on the host, with every feature whose system library is there.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::host::{self, packages};

/// Features that link a library of the system: name, and what the host needs.
const LINKED: &[(&str, packages::Need)] = &[("gbm", packages::GBM), ("rivals", packages::XKBCOMMON)];

/// The features to build with.
#[derive(Debug, Clone)]
pub(crate) enum Features {
    /// `--all-features`.
    All,
    /// `package/feature`, where some had to be left out.
    Some(Vec<String>),
}

impl Features {
    /// For cargo's command line.
    pub(crate) fn arguments(&self) -> Vec<String> {
        match self {
            Self::All => vec!["--all-features".into()],
            Self::Some(list) => vec!["--features".into(), list.join(",")],
        }
    }
}

/// A test binary and how to run it.
#[derive(Debug, Clone)]
pub(crate) struct TestBinary {
    pub(crate) name: String,
    pub(crate) path: PathBuf,
    /// The package's folder: cargo runs tests there.
    pub(crate) dir: PathBuf,
    pub(crate) env: Vec<(String, OsString)>,
    /// Whether libtest is in it; other harnesses do not know its options.
    pub(crate) harness: bool,
}

/// The cargo that runs us.
pub(crate) fn cargo() -> OsString {
    std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

/// The workspace we were called in.
pub(crate) fn workspace() -> Result<PathBuf> {
    let here = std::env::current_dir()?;
    crate::guest::workspace(&here).with_context(|| format!("{} lies in no cargo workspace", here.display()))
}

/// `cargo metadata` of the workspace's own packages.
pub(crate) fn metadata() -> Result<Value> {
    let text = crate::steps::output(
        Command::new(cargo())
            .args(["metadata", "--format-version=1", "--no-deps"])
            .current_dir(workspace()?),
    )?;
    serde_json::from_str(&text).context("cargo metadata said something strange")
}

/// The workspace's packages that have a library.
pub(crate) fn libraries() -> Result<Vec<String>> {
    let metadata = metadata()?;
    let has_library = |package: &&Value| {
        list(&package["targets"]).any(|target| list(&target["kind"]).any(|kind| kind == "lib"))
    };
    let packages = list(&metadata["packages"]).filter(has_library);
    Ok(packages.map(|package| text(package, "name").to_owned()).collect())
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_default()
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// Every feature that can be linked here; installs the libraries where that is allowed.
pub(crate) fn features(yes: bool) -> Result<Features> {
    let metadata = metadata()?;
    let packages: Vec<_> = list(&metadata["packages"]).collect();
    let used = |feature: &str| packages.iter().any(|p| p["features"].get(feature).is_some());
    let mut left_out = Vec::new();
    for (feature, need) in LINKED.iter().filter(|(f, need)| used(f) && !need.met()) {
        // Root (a container, CI) installs; a user is not made to.
        if host::is_root() && packages::require(&[*need], yes).is_ok() {
            continue;
        }
        eprintln!(
            "LEFT OUT: the feature `{feature}`, because {} is not installed ({})",
            need.package, need.why
        );
        eprintln!("  to have it tested: sudo apt-get install {}", need.package);
        left_out.push(*feature);
    }
    if left_out.is_empty() {
        return Ok(Features::All);
    }
    let pulls = |package: &Value, feature: &str| {
        list(&package["features"][feature])
            .filter_map(Value::as_str)
            .any(|x| left_out.iter().any(|l| x == *l || x.ends_with(&format!("/{l}"))))
    };
    let mut all = Vec::new();
    for package in packages {
        for feature in package["features"].as_object().into_iter().flat_map(|f| f.keys()) {
            if !left_out.contains(&feature.as_str()) && !pulls(package, feature) {
                all.push(format!("{}/{feature}", text(package, "name")));
            }
        }
    }
    Ok(Features::Some(all))
}

/// Compiles the tests and says where they are.
pub(crate) fn test_binaries(
    features: &Features,
    packages: &[String],
    release: bool,
) -> Result<Vec<TestBinary>> {
    let metadata = metadata()?;
    let mut command = Command::new(cargo());
    command
        .args(["test", "--no-run", "--message-format=json-render-diagnostics"])
        .args(features.arguments());
    if packages.is_empty() {
        command.arg("--workspace");
    }
    packages.iter().for_each(|p| {
        command.args(["--package", p]);
    });
    if release {
        command.arg("--release");
    }
    let out = command
        .current_dir(workspace()?)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()?;
    if !out.status.success() {
        bail!("the tests do not compile (above)");
    }
    let messages: Vec<Value> = String::from_utf8_lossy(&out.stdout)
        .lines()
        .filter_map(|l| serde_json::from_str(l).ok())
        .collect();
    let mut binaries = Vec::new();
    for message in &messages {
        let is_test = message["reason"] == "compiler-artifact" && message["profile"]["test"] == true;
        let Some(path) = message["executable"].as_str().filter(|_| is_test) else {
            continue;
        };
        let id = text(message, "package_id");
        let package = list(&metadata["packages"])
            .find(|p| p["id"] == id)
            .with_context(|| format!("whose is {path}?"))?;
        binaries.push(binary(package, &message["target"], path, id, &messages));
    }
    // The long ones first would be better still; names keep the output the same from run to run.
    binaries.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(binaries)
}

/// What cargo itself would set up for a test.
fn binary(package: &Value, target: &Value, path: &str, id: &str, messages: &[Value]) -> TestBinary {
    let manifest = PathBuf::from(text(package, "manifest_path"));
    let dir = super::parent(&manifest);
    let mut env: Vec<(String, OsString)> = vec![
        ("CARGO_MANIFEST_DIR".into(), dir.clone().into()),
        ("CARGO_MANIFEST_PATH".into(), manifest.into()),
        ("CARGO_PKG_NAME".into(), text(package, "name").into()),
        ("CARGO_PKG_VERSION".into(), text(package, "version").into()),
    ];
    // Programs of the same package, for tests which start them.
    for message in messages
        .iter()
        .filter(|m| text(m, "package_id") == id && m["profile"]["test"] == false)
    {
        if let Some(program) = message["executable"].as_str() {
            env.push((
                format!("CARGO_BIN_EXE_{}", text(&message["target"], "name")),
                program.into(),
            ));
        }
    }
    // Build scripts may have made files that tests read.
    if let Some(out) = messages
        .iter()
        .find(|m| m["reason"] == "build-script-executed" && text(m, "package_id") == id)
    {
        env.push(("OUT_DIR".into(), text(out, "out_dir").into()));
    }
    let kind = list(&target["kind"])
        .filter_map(Value::as_str)
        .next()
        .unwrap_or("test");
    let name = text(target, "name");
    let source = std::fs::read_to_string(dir.join("Cargo.toml")).unwrap_or_default();
    TestBinary {
        name: format!("{} {kind} {name}", text(package, "name")),
        path: path.into(),
        harness: !source.contains("harness = false"),
        dir,
        env,
    }
}
