//! Features that may be left out: the facade, whose features are the adapters, builds without any of them.

use std::ffi::OsString;

use anyhow::Result;

use super::{Ci, Verdict, status, tools};
use crate::test::build;

const FACADE: &str = "dmaframe";

impl Ci {
    /// cargo-hack: no feature, each alone (or more together: `--feature-depth`); then everything but one, and without what would turn that one on.
    pub(super) fn features(&self, selection: &build::Selection) -> Result<Verdict> {
        let hack: OsString = tools::cargo_tool("cargo-hack", "0.6")?.into();
        let metadata = build::metadata()?;
        let (here, lost): (Vec<_>, Vec<_>) = build::features(&metadata, FACADE)
            .into_iter()
            .partition(|(feature, _)| selection.builds(FACADE, feature));
        let names = |features: &[&(String, Vec<String>)]| {
            let names: Vec<_> = features.iter().map(|f| f.0.as_str()).collect();
            names.join(",")
        };
        let lints = |words: &[&str]| {
            let mut command = self.command(&hack);
            command.args(["hack", "clippy", "--quiet", "--package", FACADE]);
            status(command.args(words).args(["--", "-D", "warnings"]))
        };
        let depth = self.args.feature_depth.to_string();
        let listed = names(&here.iter().collect::<Vec<_>>());
        let mut verdict = lints(&[
            "--feature-powerset",
            "--depth",
            &depth,
            "--include-features",
            &listed,
        ])?;
        for (gone, _) in &here {
            let rest: Vec<_> = here.iter().filter(|(_, on)| !on.contains(gone)).collect();
            let features = ["--no-default-features", "--features", &names(&rest)];
            if matches!(verdict, Verdict::Ok) {
                verdict = lints(&features)?;
            }
            if matches!(verdict, Verdict::Ok) && self.args.feature_tests {
                let mut test = self.command(&"cargo".into());
                test.args([
                    "test",
                    "--quiet",
                    "--package",
                    FACADE,
                    "--lib",
                    "--bins",
                    "--tests",
                ]);
                verdict = status(test.args(features))?;
            }
        }
        // What only the lab's root folder links: alone, and with all others.
        for (lost, _) in &lost {
            let alone = ["--no-default-features", "--features", &format!("{FACADE}/{lost}")];
            for features in [alone.as_slice(), &["--all-features"]] {
                let words = [&["clippy", "--package", FACADE], features].concat();
                verdict = self.and_inside(verdict, selection, &[], &words, &["--", "-D", "warnings"])?;
            }
        }
        Ok(verdict)
    }
}
