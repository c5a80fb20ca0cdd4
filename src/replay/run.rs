//! Several exposures at a time; a failure of one is that one's.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How a replay went.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// Exposures processed in this run.
    pub done: usize,
    /// Exposures left alone because an earlier run finished them.
    pub skipped: usize,
    /// Exposures that failed, with the reason, in order of their names.
    pub failed: Vec<(PathBuf, String)>,
}

/// What one file came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// Processed, with a line to show.
    Done(String),
    /// Finished by an earlier run.
    Skipped,
    /// Failed, with the reason.
    Failed(String),
}

/// Processes `files` with `jobs` workers. `work` runs on a worker's thread, a panic in it is that file's failure;
/// `report` is called once a file, in the order in which they end.
pub fn run(
    files: &[PathBuf],
    jobs: usize,
    work: impl Fn(&Path) -> Progress + Sync,
    report: impl Fn(&Path, &Progress) + Sync,
) -> Tally {
    let next = AtomicUsize::new(0);
    let tally = Mutex::new(Tally::default());
    std::thread::scope(|scope| {
        for _ in 0..jobs.clamp(1, files.len().max(1)) {
            scope.spawn(|| {
                while let Some(file) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let attempt = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| work(file)));
                    let outcome = attempt.unwrap_or_else(|_| {
                        Progress::Failed("internal error (please report it with the file): the worker panicked".into())
                    });
                    report(file, &outcome);
                    // A poisoned lock only means that another worker panicked inside `report`: the counts still hold.
                    let mut tally = tally.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                    match outcome {
                        Progress::Done(_) => tally.done += 1,
                        Progress::Skipped => tally.skipped += 1,
                        Progress::Failed(reason) => tally.failed.push((file.clone(), reason)),
                    }
                }
            });
        }
    });
    let mut tally = tally.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    tally.failed.sort();
    tally
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_file_is_worked_on_once_and_a_panic_is_its_own_failure() {
        let files: Vec<PathBuf> = (0..20).map(|i| PathBuf::from(format!("{i:02}.fits"))).collect();
        let seen = Mutex::new(Vec::new());
        let tally = run(
            &files,
            3,
            |file| match file.to_string_lossy().as_ref() {
                "03.fits" => Progress::Skipped,
                "05.fits" => Progress::Failed("truncated".into()),
                "07.fits" => panic!("a bug"),
                _ => Progress::Done(String::new()),
            },
            |file, _| seen.lock().expect("lock").push(file.to_owned()),
        );
        assert_eq!((tally.done, tally.skipped, tally.failed.len()), (17, 1, 2));
        assert_eq!(tally.failed[0], (PathBuf::from("05.fits"), "truncated".to_string()));
        let mut seen = seen.into_inner().expect("lock");
        seen.sort();
        assert_eq!(seen, files);
    }
}
