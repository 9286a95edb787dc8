//! `JUnit` XML files, as Maven Surefire, Gradle, `CTest` and many others write them.

use anyhow::Result;

use crate::toolchain::Parsed;
use crate::toolchain::place::Place;

/// Reads one result file.
pub fn parse(bytes: &[u8], place: &Place) -> Result<Parsed> {
    let _ = (bytes, place);
    todo!()
}
