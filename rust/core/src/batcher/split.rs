//! A batch that fails, in parts: one that does not fit into the device's memory, or one of whose prompts the graph cannot run.

use super::{Request, Row, RunError, Runner};
use crate::error::{Error, Result};

/// Runs a batch. Out of memory, each half is tried once; what fails again is an error for its callers only. Where the run fails for
/// another reason, halves are tried until what fails is one prompt: it must not fail those that share its run.
pub(super) fn run(runner: &mut impl Runner, batch: &[&Request]) -> Vec<Result<Row>> {
    match runner.run(batch) {
        Ok(rows) => check_rows(rows, batch.len()),
        Err(RunError::OutOfMemory(_)) if batch.len() > 1 => halves(runner, batch, once),
        Err(RunError::Failed(_)) if batch.len() > 1 => halves(runner, batch, run),
        Err(error) => refuse(error, batch.len()),
    }
}

fn halves<R: Runner>(
    runner: &mut R,
    batch: &[&Request],
    run: fn(&mut R, &[&Request]) -> Vec<Result<Row>>,
) -> Vec<Result<Row>> {
    let (first, second) = batch.split_at(batch.len() / 2);
    let mut rows = run(runner, first);
    rows.extend(run(runner, second));
    rows
}

fn once<R: Runner>(runner: &mut R, batch: &[&Request]) -> Vec<Result<Row>> {
    match runner.run(batch) {
        Ok(rows) => check_rows(rows, batch.len()),
        Err(error) => refuse(error, batch.len()),
    }
}

fn check_rows(rows: Vec<Row>, expected: usize) -> Vec<Result<Row>> {
    if rows.len() == expected {
        return rows.into_iter().map(Ok).collect();
    }
    let error = Error::inference(format!("the model gave {} rows for {expected} prompts", rows.len()));
    vec![Err(error); expected]
}

fn refuse(error: RunError, rows: usize) -> Vec<Result<Row>> {
    let error = match error {
        RunError::OutOfMemory(message) => Error::inference(format!(
            "out of memory for {rows} prompts at once: {message}; open the router with a smaller max_batch_tokens"
        )),
        RunError::Failed(error) => error,
    };
    vec![Err(error); rows]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails for prompts of these lengths.
    struct Refuses(Vec<usize>, Vec<usize>);

    impl Runner for Refuses {
        fn run(&mut self, batch: &[&Request]) -> std::result::Result<Vec<Row>, RunError> {
            self.1.push(batch.len());
            if batch.iter().any(|request| self.0.contains(&request.length())) {
                return Err(RunError::Failed(Error::inference("no such token")));
            }
            Ok(batch.iter().map(|request| vec![request.length() as f32]).collect())
        }
    }

    #[test]
    fn a_prompt_that_fails_fails_no_other() {
        let requests: Vec<Request> = (1..=8).map(|n| Request::scores(vec![0; n])).collect();
        for bad in [vec![1], vec![8], vec![3, 4], vec![1, 2, 3, 4, 5, 6, 7, 8], vec![]] {
            let mut runner = Refuses(bad.clone(), vec![]);
            let rows = run(&mut runner, &requests.iter().collect::<Vec<_>>());
            let failed: Vec<usize> = (1..=8).filter(|&n| rows[n - 1].is_err()).collect();
            assert_eq!(failed, bad);
            assert!((1..=8).all(|n| bad.contains(&n) || rows[n - 1].as_ref().unwrap()[0] == n as f32));
            assert!(runner.1.len() < 2 * 8, "{:?}", runner.1);
        }
    }

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
