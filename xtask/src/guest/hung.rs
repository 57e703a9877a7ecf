//! What a guest's threads wait for, written down when its time is up: a test that hangs once in a hundred runs says
//! where the first time.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::time::Duration;

/// The end of the guest's time, and the file of the host that the threads are written into.
pub(super) struct Watch {
    pub(super) limit: Duration,
    pub(super) into: File,
}

impl Watch {
    /// Waits beside the command. The host kills the guest; a command that ends earlier takes this with it.
    pub(super) fn start(mut self) {
        std::thread::spawn(move || {
            std::thread::sleep(self.limit);
            let text = threads(Path::new("/proc"));
            self.into.write_all(text.as_bytes()).ok();
            self.into.sync_all().ok();
        });
    }
}

/// A line for each thread of each process, without the kernel's own and our own.
fn threads(proc: &Path) -> String {
    let mut text = String::new();
    for pid in numbers(proc).into_iter().filter(|pid| *pid != 1) {
        let process = proc.join(pid.to_string());
        let words = read(&process.join("cmdline"));
        // The kernel's threads have none.
        if words.is_empty() {
            continue;
        }
        let words: Vec<_> = words.split('\0').filter(|word| !word.is_empty()).collect();
        text += &format!("process {pid}: {}\n", words.join(" "));
        for task in numbers(&process.join("task")) {
            text += &thread(&process.join("task").join(task.to_string()), task);
        }
    }
    text
}

fn thread(task: &Path, id: u32) -> String {
    // `id (name) state ...`, and the name may hold anything.
    let stat = read(&task.join("stat"));
    let state = stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
    let [name, place, call] = ["comm", "wchan", "syscall"].map(|file| read(&task.join(file)));
    format!(
        "  {id} {} {} in {} (system call {})\n",
        name.trim_end(),
        state.unwrap_or('?'),
        place.trim_end(),
        call.trim_end()
    )
}

fn read(path: &Path) -> String {
    // A thread may end meanwhile.
    String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned()
}

fn numbers(folder: &Path) -> Vec<u32> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut all: Vec<_> = entries
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect();
    all.sort_unstable();
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_waits_is_named_with_what_it_waits_in() {
        let (go, wait) = std::sync::mpsc::channel::<()>();
        let waiting = std::thread::Builder::new().name("waits) here".into());
        let waiting = waiting.spawn(move || wait.recv().ok()).expect("a thread");
        // Its name is set by itself, and it sleeps soon after.
        let sleeps = |text: &str| text.lines().any(|line| line.contains(" waits) here S in "));
        let own = Path::new("/proc")
            .join(std::process::id().to_string())
            .join("task");
        let seen = (0..500).any(|_| {
            std::thread::sleep(Duration::from_millis(10));
            let all: String = numbers(&own)
                .into_iter()
                .map(|id| thread(&own.join(id.to_string()), id))
                .collect();
            sleeps(&all)
        });
        drop(go);
        waiting.join().expect("it ends");
        assert!(seen);
        assert!(threads(Path::new("/proc")).contains(&format!("process {}: ", std::process::id())));
    }
}
