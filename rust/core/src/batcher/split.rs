//! A batch that does not fit into the device's memory, in halves.

use super::{Request, Row, RunError, Runner};
use crate::error::{Error, Result};

/// Runs a batch. Out of memory, each half is tried once; what fails again is an error for its callers only.
pub(super) fn run(runner: &mut impl Runner, batch: &[&Request]) -> Vec<Result<Row>> {
    match runner.run(batch) {
        Ok(rows) => check_rows(rows, batch.len()),
        Err(RunError::OutOfMemory(_)) if batch.len() > 1 => {
            let (first, second) = batch.split_at(batch.len() / 2);
            let mut rows = once(runner, first);
            rows.extend(once(runner, second));
            rows
        }
        Err(error) => refuse(error, batch.len()),
    }
}

fn once(runner: &mut impl Runner, batch: &[&Request]) -> Vec<Result<Row>> {
    match runner.run(batch) {
        Ok(rows) => check_rows(rows, batch.len()),
        Err(error) => refuse(error, batch.len()),
    }
}

fn check_rows(rows: Vec<Row>, expected: usize) -> Vec<Result<Row>> {
    if rows.len() == expected {
        return rows.into_iter().map(Ok).collect();
    }
    let error = Error::Inference(format!("the model gave {} rows for {expected} prompts", rows.len()));
    vec![Err(error); expected]
}

fn refuse(error: RunError, rows: usize) -> Vec<Result<Row>> {
    let error = match error {
        RunError::OutOfMemory(message) => Error::Inference(format!(
            "out of memory for {rows} prompts at once: {message}; open the router with a smaller max_batch_tokens"
        )),
        RunError::Failed(error) => error,
    };
    vec![Err(error); rows]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails for more than `fits` rows.
    struct Small {
        fits: usize,
        runs: Vec<usize>,
    }

    impl Runner for Small {
        fn run(&mut self, batch: &[&Request]) -> std::result::Result<Vec<Row>, RunError> {
            self.runs.push(batch.len());
            if batch.len() > self.fits {
                return Err(RunError::OutOfMemory("no room".into()));
            }
            Ok(batch.iter().map(|request| vec![request.length() as f32]).collect())
        }
    }

    fn lengths(fits: usize, count: usize) -> (Vec<Option<f32>>, Vec<usize>) {
        let requests: Vec<Request> = (1..=count).map(|n| Request::scores(vec![0; n])).collect();
        let mut runner = Small { fits, runs: vec![] };
        let rows = run(&mut runner, &requests.iter().collect::<Vec<_>>());
        (rows.into_iter().map(|row| row.ok().map(|row| row[0])).collect(), runner.runs)
    }

    #[test]
    fn out_of_memory_splits_the_batch_once() {
        assert_eq!(lengths(4, 4), (vec![Some(1.0), Some(2.0), Some(3.0), Some(4.0)], vec![4]));
        assert_eq!(lengths(3, 5), (vec![Some(1.0), Some(2.0), Some(3.0), Some(4.0), Some(5.0)], vec![5, 2, 3]));
        // The second half is still too large: its callers are told, those of the first half are served.
        assert_eq!(lengths(2, 5), (vec![Some(1.0), Some(2.0), None, None, None], vec![5, 2, 3]));
        assert_eq!(lengths(0, 1), (vec![None], vec![1]));
    }
}
