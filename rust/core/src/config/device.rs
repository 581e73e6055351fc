//! Where a graph runs.

use std::{fmt, str::FromStr};

use crate::error::{Error, Result};

/// Where the graph runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Device {
    /// The host processor.
    #[default]
    Cpu,
    /// An NVIDIA GPU by its CUDA number.
    Cuda(u32),
    /// The same, through TensorRT.
    TensorRt(u32),
}

impl Device {
    /// Whether this is the host processor.
    pub fn is_cpu(self) -> bool {
        self == Self::Cpu
    }
}

impl FromStr for Device {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let (kind, number) = text.split_once(':').unwrap_or((text, "0"));
        match (kind, number.parse()) {
            ("cpu", _) if kind == text => Ok(Self::Cpu),
            ("cuda", Ok(number)) => Ok(Self::Cuda(number)),
            ("tensorrt", Ok(number)) => Ok(Self::TensorRt(number)),
            _ => Err(Error::device(
                text,
                format!(
                    "device is {text:?}, expected \"cpu\", \"cuda:N\" or \"tensorrt:N\", or several GPUs with commas between"
                ),
            )),
        }
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(number) => write!(f, "cuda:{number}"),
            Self::TensorRt(number) => write!(f, "tensorrt:{number}"),
        }
    }
}

/// One device or several; each has a session of its own, and all serve one queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Devices(Vec<Device>);

impl Devices {
    /// The devices, one or more.
    pub fn each(&self) -> &[Device] {
        &self.0
    }

    /// Whether the graph runs on the host processor.
    pub fn is_cpu(&self) -> bool {
        self.0 == [Device::Cpu]
    }

    /// Whether any of them runs the graph through TensorRT.
    pub fn uses_tensorrt(&self) -> bool {
        self.0.iter().any(|device| matches!(device, Device::TensorRt(_)))
    }
}

impl Default for Devices {
    fn default() -> Self {
        Self(vec![Device::Cpu])
    }
}

impl FromStr for Devices {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let devices = text.split(',').map(str::parse).collect::<Result<Vec<Device>>>()?;
        let twice = (1..devices.len()).find(|&place| devices[..place].contains(&devices[place]));
        if let Some(place) = twice {
            return Err(Error::device(text, format!("device is {text:?}, which names {} twice", devices[place])));
        }
        if devices.len() > 1 && devices.contains(&Device::Cpu) {
            return Err(Error::device(text, format!("device is {text:?}: the CPU cannot stand beside other devices")));
        }
        Ok(Self(devices))
    }
}

impl fmt::Display for Devices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, device) in self.0.iter().enumerate() {
            write!(f, "{}{device}", if place == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_parse_and_print() {
        assert_eq!("cpu".parse::<Device>().unwrap(), Device::Cpu);
        assert_eq!("cuda".parse::<Device>().unwrap().to_string(), "cuda:0");
        assert_eq!("cuda:3".parse::<Device>().unwrap().to_string(), "cuda:3");
        assert_eq!("tensorrt:1".parse::<Device>().unwrap().to_string(), "tensorrt:1");
        for wrong in ["", "gpu", "cuda:", "cuda:-1", "cuda:x", "CPU", "cpu:0", "tensorrt:"] {
            assert!(wrong.parse::<Device>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn several_devices_are_gpus_named_once() {
        let devices: Devices = "cuda:0,cuda:1".parse().unwrap();
        assert_eq!(devices.each(), [Device::Cuda(0), Device::Cuda(1)]);
        assert_eq!(devices.to_string(), "cuda:0,cuda:1");
        assert!(Devices::default().is_cpu() && !devices.is_cpu());
        for wrong in ["", ",", "cuda:0,", "cpu,cuda:0", "cuda:0,cuda:0", "cuda,cuda:0"] {
            assert!(wrong.parse::<Devices>().is_err(), "{wrong}");
        }
    }
}
