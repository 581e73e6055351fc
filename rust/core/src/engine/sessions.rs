//! How many sessions serve a router, where each runs and on how many threads.

use crate::config::{Device, RouterConfig};

/// Where a session runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) device: Device,
    /// Of the CPU; 0 leaves their number to ONNX Runtime.
    pub(super) threads: usize,
}

/// Sessions beside each other on a CPU, unless the configuration names their number, and the bytes of weights up to which there is more
/// than one: each has the weights to itself, and a larger network gains from several threads within a run.
const MOST: usize = 8;
const SMALL_BYTES: u64 = 32 << 20;

/// One session a GPU. On the CPU, sessions share the threads: of a small network, whose operators are too short to be spread over threads,
/// callers that come together are better served by a session each than by the threads of one, which wait for one another at every
/// operator.
pub(super) fn places(config: &RouterConfig, bytes: u64) -> Vec<Place> {
    if !config.device.is_cpu() {
        return config.device.each().iter().map(|&device| Place { device, threads: config.threads }).collect();
    }
    let threads = match config.threads {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        threads => threads,
    };
    let sessions = match config.batch.sessions {
        0 if bytes <= SMALL_BYTES => threads.min(MOST),
        0 => 1,
        sessions => sessions,
    };
    vec![Place { device: Device::Cpu, threads: (threads / sessions).max(1) }; sessions]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn threads_of(threads: usize, sessions: usize, bytes: u64) -> Vec<usize> {
        let mut config = RouterConfig { threads, ..RouterConfig::default() };
        config.batch.sessions = sessions;
        places(&config, bytes).iter().map(|place| place.threads).collect()
    }

    #[test]
    fn small_networks_get_sessions_beside_each_other() {
        assert_eq!(threads_of(1, 0, 5 << 20), [1]);
        assert_eq!(threads_of(2, 0, 5 << 20), [1, 1]);
        assert_eq!(threads_of(16, 0, 5 << 20), [2; 8]);
    }

    #[test]
    fn large_networks_get_one_with_all_threads() {
        assert_eq!(threads_of(16, 0, 90 << 20), [16]);
    }

    #[test]
    fn the_number_can_be_named() {
        assert_eq!(threads_of(8, 1, 1), [8]);
        assert_eq!(threads_of(8, 2, 4 << 30), [4, 4]);
        assert_eq!(threads_of(1, 2, 1), [1, 1]);
    }

    #[test]
    fn every_gpu_has_one() {
        let config = RouterConfig { device: "cuda:0,cuda:1".parse().unwrap(), ..RouterConfig::default() };
        let devices: Vec<Device> = places(&config, 1).iter().map(|place| place.device).collect();
        assert_eq!(devices, [Device::Cuda(0), Device::Cuda(1)]);
    }
}
