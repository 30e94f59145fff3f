use std::fmt;
use std::str::FromStr;

use crate::problem::Fault;

/// A Kubernetes version this build knows how to run: v1.20 to v1.37, any patch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KubernetesVersion {
    major: u16,
    minor: u16,
    patch: u16,
}

impl KubernetesVersion {
    /// The oldest minor version (1.20) that can be rendered.
    pub const OLDEST_MINOR: u16 = 20;
    /// The newest minor version (1.37) that can be rendered.
    pub const NEWEST_MINOR: u16 = 37;

    /// The first number; always 1.
    #[must_use]
    pub fn major(self) -> u16 {
        self.major
    }

    /// The second number, 20 to 37.
    #[must_use]
    pub fn minor(self) -> u16 {
        self.minor
    }

    /// The third number.
    #[must_use]
    pub fn patch(self) -> u16 {
        self.patch
    }

    /// Whether this is 1.`minor` or newer: the question every version gate asks.
    #[must_use]
    pub fn at_least(self, minor: u16) -> bool {
        self.minor >= minor
    }
}

impl FromStr for KubernetesVersion {
    type Err = Fault;

    fn from_str(text: &str) -> Result<Self, Fault> {
        let shape = || Fault::new("is not a version").hint("write it like v1.20.2");
        let numbers = text.strip_prefix('v').unwrap_or(text);
        // A suffix such as -rc.1 names a build nobody runs for long; gates by minor would be wrong.
        let parts: Vec<&str> = numbers.split('.').collect();
        let [major, minor, patch] = parts.as_slice() else {
            return Err(shape());
        };
        let number = |part: &str| -> Result<u16, Fault> {
            let plain = part.bytes().all(|byte| byte.is_ascii_digit());
            if !plain || part.is_empty() || (part.len() > 1 && part.starts_with('0')) {
                return Err(shape());
            }
            part.parse().map_err(|_| shape())
        };
        let version = Self {
            major: number(major)?,
            minor: number(minor)?,
            patch: number(patch)?,
        };
        if !text.starts_with('v') {
            return Err(Fault::new("lacks its v").hint(format!("write v{numbers}")));
        }
        let known = Self::OLDEST_MINOR..=Self::NEWEST_MINOR;
        if version.major != 1 || !known.contains(&version.minor) {
            return Err(
                Fault::new(format!("{version} is not a version this build knows"))
                    .hint("v1.20 to v1.37 are known"),
            );
        }
        Ok(version)
    }
}

impl fmt::Display for KubernetesVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "v{}.{}.{}", self.major, self.minor, self.patch)
    }
}
