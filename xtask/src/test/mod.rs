//! `cargo xtask test`: every test of the workspace, in the lab, with nothing to set up before.

pub(crate) mod build;
pub(crate) mod inside;
mod libtest;
mod order;

use std::collections::VecDeque;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Args;
use rustix::process::{Pid, Signal, kill_process};

use crate::guest::Lab;
use crate::host;
use crate::kernel::Variant;
pub(crate) use libtest::Tally;

/// What is tested, and where.
#[derive(Debug, Args)]
pub(crate) struct TestArgs {
    /// Only tests whose names contain one of these
    filters: Vec<String>,
    /// Only this package's tests (may be repeated)
    #[arg(short, long = "package", value_name = "NAME")]
    packages: Vec<String>,
    /// On this machine, without the lab: tests whose device is missing skip themselves visibly
    #[arg(long)]
    host: bool,
    /// Leave the documentation's examples out
    #[arg(long)]
    no_doc: bool,
    /// Build with optimisations
    #[arg(long)]
    release: bool,
    /// Which kernel the tests run on
    #[arg(long, value_enum, default_value_t = Variant::Default)]
    variant: Variant,
    /// Each guest's memory
    #[arg(long, default_value = "1G")]
    mem: String,
    /// Seconds after which a guest is killed
    #[arg(long, default_value_t = 600)]
    timeout: u64,
    /// Install missing packages without asking
    #[arg(long)]
    yes: bool,
    /// For the test binaries, after `--`
    #[arg(last = true)]
    args: Vec<String>,
}

/// One test binary's end.
struct Outcome {
    name: String,
    tally: Tally,
    seconds: f32,
    /// What it said last, if it failed.
    last_words: Option<String>,
}

/// The processes that run just now.
static RUNNING: Mutex<Vec<Pid>> = Mutex::new(Vec::new());

/// Hands SIGINT and its like on to what is running: a guest then cleans up after itself, and we end.
fn pass_signals_on() {
    loop {
        if crate::signals::seen().is_some() {
            for pid in RUNNING.lock().expect("no panic holds it").iter() {
                kill_process(*pid, Signal::TERM).ok();
            }
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Runs everything; gives the exit status.
pub(crate) fn main(args: &TestArgs) -> Result<i32> {
    crate::signals::watch()?;
    std::thread::spawn(pass_signals_on);
    host::disk::require(&build::target()?)?;
    // The lab first: should it need to ask something, it asks at once.
    let lab = if args.host {
        None
    } else {
        Some(Lab::ensure(args.variant, args.yes)?)
    };
    if let Some(advice) = lab.as_ref().and_then(Lab::advice) {
        eprintln!("note: {advice}");
    }
    let folder = lab
        .as_ref()
        .map(|lab| &lab.root)
        .filter(|root| *root != Path::new("/"));
    let selection = match folder {
        Some(_) => build::selection_for_folder(args.yes)?,
        None => build::selection(args.yes)?,
    };
    let packages = asked(args, selection.inside());
    let singles = build::singles(&build::metadata()?, &selection, &args.packages);
    let inside = match folder {
        Some(root) if !packages.is_empty() || !singles.is_empty() => {
            Some(inside::Inside::new(root, packages, singles)?)
        }
        _ => None,
    };
    if folder.is_none() && !selection.inside().is_empty() {
        let lost = selection.inside().join(", ");
        eprintln!("LEFT OUT: {lost}: this machine has not got what it links");
    }
    let mut binaries = build::test_binaries(&selection, &args.packages, args.release)?;
    if let Some(inside) = &inside {
        binaries.extend(inside.test_binaries(args.release)?);
    }
    let durations = order::Durations::load();
    durations.sort(&mut binaries);
    let place = if lab.is_some() {
        "in the lab"
    } else {
        "on this machine"
    };
    println!(
        "{} test binaries {place}, {} at a time",
        binaries.len(),
        host::cpus()
    );

    let folder = tempfile::Builder::new().prefix("dmaframe-test-").tempdir()?;
    let queue = Mutex::new(binaries.into_iter().enumerate().collect::<VecDeque<_>>());
    let done = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for slot in 0..host::cpus() {
            let (queue, done, folder) = (&queue, &done, folder.path());
            scope.spawn(move || {
                loop {
                    let next = queue.lock().expect("no panic holds it").pop_front();
                    let (Some((number, binary)), None) = (next, crate::signals::seen()) else {
                        return;
                    };
                    let skips = folder.join(number.to_string());
                    let outcome = one(args, &binary, slot, &skips).unwrap_or_else(|error| {
                        println!("{}: {error:#}", binary.name);
                        Outcome {
                            name: binary.name.clone(),
                            tally: Tally {
                                failed: 1,
                                ..Tally::default()
                            },
                            seconds: 0.0,
                            last_words: Some(format!("{error:#}")),
                        }
                    });
                    done.lock().expect("no panic holds it").push(outcome);
                }
            });
        }
    });
    if let Some(signal) = crate::signals::seen() {
        return Ok(128 + signal);
    }
    let mut outcomes = done.into_inner().expect("no panic holds it");
    // With filters little was run: that says nothing of the whole.
    if args.filters.is_empty() && !args.host {
        durations.keep(outcomes.iter().map(|o| (o.name.as_str(), o.seconds)));
    }
    if !args.no_doc {
        outcomes.push(doctests(args, &selection)?);
        if let Some(inside) = inside {
            for (name, words) in inside.documented() {
                outcomes.push(doctests_inside(args, &inside, &name, &words)?);
            }
        }
    }
    Ok(report(&outcomes))
}

fn one(args: &TestArgs, binary: &build::TestBinary, slot: usize, skips: &Path) -> Result<Outcome> {
    // Another process for each: a guest pins itself to a CPU, and cleans up after itself.
    let mut command = if args.host {
        Command::new(&binary.path)
    } else {
        let mut command = Command::new(crate::own_path());
        let variant = if args.variant == Variant::Faults {
            "faults"
        } else {
            "default"
        };
        command.args([
            "lab",
            "run",
            "--mem",
            &args.mem,
            "--timeout",
            &args.timeout.to_string(),
            "--variant",
            variant,
        ]);
        if binary.udev {
            command.arg("--udev");
        }
        for word in &binary.kernel_args {
            command.args(["--kernel-arg", word]);
        }
        command
            .arg("--bind")
            .arg(skips.parent().context("a file in a folder")?)
            .arg("--")
            .arg(&binary.path);
        command.env("DMAFRAME_LAB_SLOT", slot.to_string());
        command
    };
    command
        .args(&args.filters)
        .args(&args.args)
        .current_dir(&binary.dir)
        .envs(binary.env.iter().map(|(k, v)| (k, v)));
    command.env("DMAFRAME_SKIPS", skips);
    if std::io::stdout().is_terminal()
        && !args.args.iter().any(|a| a.starts_with("--color"))
        && binary.harness
    {
        command.arg("--color=always");
    }
    let mut outcome = run(command, &binary.name)?;
    outcome.tally.take_skips(skips);
    Ok(outcome)
}

/// Runs one, shows its output in one piece, counts.
fn run(mut command: Command, name: &str) -> Result<Outcome> {
    let begun = Instant::now();
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let child = command
        .spawn()
        .with_context(|| format!("cannot start {}", crate::steps::show(&command)))?;
    let pid = Pid::from_child(&child);
    RUNNING.lock().expect("no panic holds it").push(pid);
    let out = child.wait_with_output();
    RUNNING.lock().expect("no panic holds it").retain(|p| *p != pid);
    let out = out?;
    let seconds = begun.elapsed().as_secs_f32();
    let [text, errors] = [&out.stdout, &out.stderr].map(|text| String::from_utf8_lossy(text));
    let tally = Tally::read(&text, out.status.success());
    let last_words = (tally.failed > 0).then(|| libtest::last_words(&text, &errors));
    let mut screen = std::io::stdout().lock();
    writeln!(screen, "\n== {name} ({seconds:.1} s, {})", out.status)?;
    screen.write_all(&out.stdout)?;
    screen.write_all(&out.stderr)?;
    screen.flush()?;
    Ok(Outcome {
        name: name.to_owned(),
        tally,
        seconds,
        last_words,
    })
}

/// The documentation's examples, on the host: rustdoc compiles and runs them by itself.
fn doctests(args: &TestArgs, selection: &build::Selection) -> Result<Outcome> {
    let mut command = Command::new(build::cargo());
    command
        .args(["test", "--doc", "--no-fail-fast"])
        .current_dir(build::workspace()?);
    // cargo refuses a package without a library here instead of passing it over.
    let libraries = build::libraries()?;
    let asked =
        |name: &String| selection.has(name) && (args.packages.is_empty() || args.packages.contains(name));
    let wanted: Vec<_> = libraries.into_iter().filter(asked).collect();
    if wanted.is_empty() {
        command = Command::new("true");
        return run(command, "no library, so no examples in its documentation");
    }
    let named: Vec<_> = wanted.iter().map(String::as_str).collect();
    command.args(selection.features(&named));
    wanted.iter().for_each(|p| {
        command.args(["--package", p]);
    });
    if args.release {
        command.arg("--release");
    }
    command.arg("--").args(&args.filters).args(&args.args);
    run(command, "examples in the documentation (on this machine)")
}

/// The same, compiled in the root folder.
fn doctests_inside(
    args: &TestArgs,
    inside: &inside::Inside,
    name: &str,
    selected: &[&str],
) -> Result<Outcome> {
    let mut words = vec!["test", "--doc", "--no-fail-fast"];
    words.extend(selected);
    if args.release {
        words.push("--release");
    }
    words.push("--");
    words.extend(args.filters.iter().chain(&args.args).map(String::as_str));
    let name = format!("examples in the documentation of {name} (in the lab's root folder)");
    run(inside.cargo(&[], &words), &name)
}

/// Those of `packages` that the command line asks for.
fn asked(args: &TestArgs, packages: &[String]) -> Vec<String> {
    let asked = |p: &&String| args.packages.is_empty() || args.packages.contains(p);
    packages.iter().filter(asked).cloned().collect()
}

fn report(outcomes: &[Outcome]) -> i32 {
    println!("\n== summary");
    let mut total = Tally::default();
    for outcome in outcomes {
        let Tally {
            passed,
            failed,
            skipped,
            ..
        } = outcome.tally;
        let name = &outcome.name;
        println!(
            "{passed:>6} passed {failed:>4} failed {skipped:>4} skipped {:>7.1} s  {name}",
            outcome.seconds
        );
        total.add(&outcome.tally);
    }
    for reason in &total.reasons {
        println!("skipped: {reason}");
    }
    // Again and last: what went wrong is not to be looked for among everything that went well.
    for outcome in outcomes {
        if let Some(last) = &outcome.last_words {
            println!("\n== FAILED: {}\n{last}", outcome.name);
        }
    }
    println!(
        "{} passed, {} failed, {} skipped",
        total.passed, total.failed, total.skipped
    );
    i32::from(total.failed > 0)
}

/// The folder of a file.
pub(crate) fn parent(path: &Path) -> PathBuf {
    path.parent().map_or_else(|| PathBuf::from("/"), Path::to_owned)
}
