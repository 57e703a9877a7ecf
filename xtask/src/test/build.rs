//! Compiling the tests on the host, with every feature whose system library is there.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::inside::{Single, What};
use crate::host::{self, packages};

/// What links a library of the system.
struct Linked {
    /// The feature, in every package that has one of this name.
    feature: &'static str,
    /// Packages that link it whatever their features.
    packages: &'static [&'static str],
    /// What the host needs for it.
    needs: &'static [packages::Need],
    /// Whether the packages are built in the lab's root folder ([`super::inside`]) where the host has not got it.
    inside: bool,
}

const LINKED: &[Linked] = &[
    Linked {
        feature: "gbm",
        packages: &[],
        needs: &[packages::GBM],
        inside: false,
    },
    Linked {
        feature: "rivals",
        packages: &[],
        needs: &[packages::XKBCOMMON],
        inside: false,
    },
    Linked {
        feature: "gstreamer",
        packages: &["dmaframe-gstreamer"],
        needs: packages::GSTREAMER,
        inside: false,
    },
    Linked {
        feature: "pipewire",
        packages: &["dmaframe-pipewire"],
        needs: packages::PIPEWIRE,
        inside: false,
    },
    Linked {
        feature: "libcamera",
        packages: &["dmaframe-libcamera"],
        needs: packages::LIBCAMERA,
        inside: true,
    },
];

/// What to build: every package with every feature, less what cannot be linked here.
#[derive(Debug, Clone, Default)]
pub(crate) struct Selection {
    /// Packages left out.
    excluded: Vec<String>,
    /// Those of them that the lab's root folder can build.
    inside: Vec<String>,
    /// `package/feature` of all others, where some feature had to be left out.
    features: Option<Vec<String>>,
    /// Features for which this machine has not got what they link, and which nothing else builds.
    left_out: Vec<String>,
}

impl Selection {
    /// Features that are not built anywhere here.
    pub(crate) fn left_out(&self) -> &[String] {
        &self.left_out
    }

    /// The features of these packages, for cargo's command line, which refuses others' features beside `--package`.
    pub(crate) fn features(&self, packages: &[&str]) -> Vec<String> {
        let theirs = |feature: &&String| {
            let package = feature.split('/').next();
            package.is_some_and(|package| packages.contains(&package))
        };
        match &self.features {
            None => vec!["--all-features".into()],
            Some(list) => {
                let list: Vec<_> = list.iter().filter(theirs).map(String::as_str).collect();
                vec!["--features".into(), list.join(",")]
            }
        }
    }

    /// Whether these packages have all of their features.
    pub(crate) fn is_whole(&self, metadata: &Value, packages: &[&str]) -> bool {
        let Some(chosen) = &self.features else { return true };
        list(&metadata["packages"])
            .filter(|package| packages.contains(&text(package, "name")))
            .all(|package| {
                let mut features = package["features"].as_object().into_iter().flat_map(|f| f.keys());
                features.all(|feature| chosen.contains(&format!("{}/{feature}", text(package, "name"))))
            })
    }

    /// The workspace and the features, for cargo's command line.
    pub(crate) fn workspace(&self) -> Vec<String> {
        let mut words = vec!["--workspace".to_owned()];
        for package in &self.excluded {
            words.extend(["--exclude".to_owned(), package.clone()]);
        }
        words.extend(match &self.features {
            None => vec!["--all-features".into()],
            Some(list) => vec!["--features".into(), list.join(",")],
        });
        words
    }

    /// Whether this feature of a package is built on the host.
    pub(crate) fn builds(&self, package: &str, feature: &str) -> bool {
        let Some(chosen) = &self.features else { return true };
        chosen.contains(&format!("{package}/{feature}"))
    }

    /// Packages that only the lab's root folder can build.
    pub(crate) fn inside(&self) -> &[String] {
        &self.inside
    }

    /// Whether a package is built on the host.
    pub(crate) fn has(&self, package: &str) -> bool {
        !self.excluded.iter().any(|p| p == package)
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
    /// Whether its package wants udevd in the guest: `[package.metadata.lab] udev = true`.
    pub(crate) udev: bool,
    /// Words for the kernel of this test's guest: `TEST = [...]` under `[package.metadata.lab.kernel-args]`.
    pub(crate) kernel_args: Vec<String>,
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

/// Where cargo puts what it builds here.
pub(crate) fn target() -> Result<PathBuf> {
    Ok(PathBuf::from(text(&metadata()?, "target_directory")))
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

/// A package's features but for `default`, each with those of them that it turns on, itself among them.
pub(crate) fn features(metadata: &Value, package: &str) -> Vec<(String, Vec<String>)> {
    let package = list(&metadata["packages"]).find(|p| text(p, "name") == package);
    let Some(features) = package.and_then(|p| p["features"].as_object()) else {
        return Vec::new();
    };
    let closure = |name: &String| {
        let mut found = vec![name.clone()];
        let mut next = 0;
        while let Some(name) = found.get(next).cloned() {
            next += 1;
            let more = list(&features[&name]).filter_map(Value::as_str);
            let new = more.filter(|m| features.contains_key(*m) && !found.iter().any(|f| f == m));
            let new: Vec<_> = new.map(str::to_owned).collect();
            found.extend(new);
        }
        (name.clone(), found)
    };
    let names = features.keys().filter(|name| *name != "default");
    names.map(closure).collect()
}

/// The workspace's packages that these depend on by a version, directly or not.
pub(crate) fn dependencies(metadata: &Value, packages: &[String]) -> Vec<String> {
    let mut found: Vec<String> = packages.to_vec();
    let mut next = 0;
    while let Some(name) = found.get(next).cloned() {
        next += 1;
        let package = list(&metadata["packages"]).find(|p| text(p, "name") == name);
        let local = package
            .into_iter()
            .flat_map(|p| list(&p["dependencies"]))
            // Those of tests are taken out of the package where they name no version.
            .filter(|d| d["path"].is_string() && d["req"] != "*");
        for name in local.map(|d| text(d, "name").to_owned()) {
            if !found.contains(&name) {
                found.push(name);
            }
        }
    }
    found.split_off(packages.len())
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_default()
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// Everything that can be linked here; installs the libraries where that is allowed.
pub(crate) fn selection(yes: bool) -> Result<Selection> {
    select(yes, false)
}

/// The same for tests in a lab whose root is a folder: what can be built there links the folder's libraries, whatever the
/// host has.
pub(crate) fn selection_for_folder(yes: bool) -> Result<Selection> {
    select(yes, true)
}

fn select(yes: bool, folder: bool) -> Result<Selection> {
    let metadata = metadata()?;
    let packages: Vec<_> = list(&metadata["packages"]).collect();
    let used = |linked: &Linked| {
        packages.iter().any(|p| {
            p["features"].get(linked.feature).is_some() || linked.packages.contains(&text(p, "name"))
        })
    };
    let (mut features, mut excluded, mut inside) = (Vec::new(), Vec::new(), Vec::new());
    let mut left_out = Vec::new();
    for linked in LINKED.iter().filter(|l| used(l)) {
        let missing: Vec<_> = linked.needs.iter().filter(|n| !n.met()).copied().collect();
        if linked.inside && (folder || !missing.is_empty()) {
            features.push(linked.feature);
            excluded.extend(linked.packages.iter().map(|&p| p.to_owned()));
            inside.extend(linked.packages.iter().map(|&p| p.to_owned()));
            continue;
        }
        // Root (a container, CI) installs; a user is not made to.
        if missing.is_empty() || (host::is_root() && packages::require(&missing, yes).is_ok()) {
            continue;
        }
        let names: Vec<_> = missing.iter().map(|n| n.package).collect();
        let whys: Vec<_> = missing.iter().map(|n| n.why).collect();
        eprintln!("LEFT OUT: the feature `{}`: {}", linked.feature, whys.join("; "));
        eprintln!("  to have it tested: sudo apt-get install {}", names.join(" "));
        left_out.push(linked.feature.to_owned());
        features.push(linked.feature);
        excluded.extend(linked.packages.iter().map(|&p| p.to_owned()));
    }
    if features.is_empty() {
        return Ok(Selection::default());
    }
    let pulls = |package: &Value, feature: &str| {
        list(&package["features"][feature])
            .filter_map(Value::as_str)
            .any(|x| features.iter().any(|l| x == *l || x.ends_with(&format!("/{l}"))))
    };
    let mut all = Vec::new();
    for package in packages
        .iter()
        .filter(|p| !excluded.iter().any(|x| x == text(p, "name")))
    {
        for feature in package["features"].as_object().into_iter().flat_map(|f| f.keys()) {
            if !features.contains(&feature.as_str()) && !pulls(package, feature) {
                all.push(format!("{}/{feature}", text(package, "name")));
            }
        }
    }
    Ok(Selection {
        excluded,
        inside,
        features: Some(all),
        left_out,
    })
}

/// Tests with features that the host has not got, of packages that it builds without them.
pub(crate) fn singles(metadata: &Value, selection: &Selection, asked: &[String]) -> Vec<Single> {
    let mut found = Vec::new();
    for package in list(&metadata["packages"]) {
        let name = text(package, "name");
        if !asked.is_empty() && !asked.iter().any(|asked| asked == name) {
            continue;
        }
        for single in list(&package["metadata"]["lab"]["inside"]) {
            let features = list(&single["features"]).filter_map(Value::as_str);
            let features: Vec<String> = features.map(str::to_owned).collect();
            let what = match single["doc"] == true {
                true => What::Documentation,
                false => What::Test(text(single, "test").to_owned()),
            };
            if !features.iter().all(|feature| selection.builds(name, feature)) {
                found.push(Single {
                    package: name.to_owned(),
                    what,
                    features,
                });
            }
        }
    }
    found
}

/// Compiles the tests and says where they are.
pub(crate) fn test_binaries(
    selection: &Selection,
    packages: &[String],
    release: bool,
) -> Result<Vec<TestBinary>> {
    let here = |package: &&String| selection.has(package);
    if !packages.is_empty() && !packages.iter().any(|p| here(&p)) {
        return Ok(Vec::new());
    }
    let mut command = Command::new(cargo());
    command
        .args(["test", "--no-run", "--message-format=json-render-diagnostics"])
        .args(if packages.is_empty() {
            selection.workspace()
        } else {
            let named: Vec<_> = packages.iter().map(String::as_str).collect();
            selection.features(&named)
        });
    packages.iter().filter(here).for_each(|p| {
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
    binaries_of(&String::from_utf8_lossy(&out.stdout))
}

/// The test binaries that cargo's messages tell of.
pub(crate) fn binaries_of(messages: &str) -> Result<Vec<TestBinary>> {
    let metadata = metadata()?;
    let messages: Vec<Value> = messages
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
        udev: package["metadata"]["lab"]["udev"] == true
            || list(&package["metadata"]["lab"]["inside"])
                .any(|single| single["test"] == name && single["udev"] == true),
        kernel_args: list(&package["metadata"]["lab"]["kernel-args"][name])
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect(),
        dir,
        env,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_feature_brings_the_features_that_it_turns_on() {
        let features =
            serde_json::json!({ "default": ["a"], "a": ["b", "dep:x"], "b": ["c"], "c": ["x/y"], "d": [] });
        let metadata = serde_json::json!({ "packages": [{ "name": "facade", "features": features }] });
        let found = super::features(&metadata, "facade");
        let of = |name: &str| found.iter().find(|f| f.0 == name).map(|f| f.1.join(","));
        assert_eq!(of("a").as_deref(), Some("a,b,c"));
        assert_eq!(of("d").as_deref(), Some("d"));
        assert_eq!(of("default"), None);
    }

    #[test]
    fn single_tests_are_built_elsewhere_where_the_host_lacks_a_feature_of_theirs() {
        let inside = serde_json::json!([{ "test": "camera", "features": ["source", "libcamera"] }]);
        let package = serde_json::json!({ "name": "facade", "metadata": { "lab": { "inside": inside } } });
        let metadata = serde_json::json!({ "packages": [package] });
        let found = |features: Option<&[&str]>, asked: &[String]| {
            let features = features.map(|list| list.iter().map(|f| format!("facade/{f}")).collect());
            let selection = Selection {
                features,
                ..Selection::default()
            };
            singles(&metadata, &selection, asked).len()
        };
        assert_eq!(found(None, &[]), 0, "a host that has everything");
        assert_eq!(found(Some(&["source"]), &[]), 1);
        assert_eq!(found(Some(&["source"]), &["facade".into()]), 1);
        assert_eq!(found(Some(&["source"]), &["other".into()]), 0);
        assert_eq!(found(Some(&["source", "libcamera"]), &[]), 0);
    }

    #[test]
    fn dependencies_are_followed_but_for_those_of_tests_that_name_no_version() {
        let package = |name: &str, dependencies: Value| serde_json::json!({ "name": name, "dependencies": dependencies });
        let local = |name: &str, req: &str| serde_json::json!({ "name": name, "req": req, "path": "/x" });
        let metadata = serde_json::json!({ "packages": [
            package("camera", serde_json::json!([local("core", "^0.1"), local("testkit", "*"), { "name": "serde", "req": "^1" }])),
            package("core", serde_json::json!([local("base", "^0.1"), local("camera", "^0.1")])),
            package("base", serde_json::json!([])),
            package("testkit", serde_json::json!([])),
        ] });
        assert_eq!(dependencies(&metadata, &["camera".to_owned()]), ["core", "base"]);
    }
}
