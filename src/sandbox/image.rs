//! Questions to a container engine about an image: whether it is there, which folder it works in, what lies in that.
//! Nothing of the image is run.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::{Container, Sandbox};
use crate::process::{self, Command, Finished, Limits};

impl Sandbox {
    /// Why the image cannot be run here, if it cannot.
    pub async fn lacks_image(&self) -> Option<String> {
        let image = match self.image() {
            Ok(container) => container.image.clone(),
            Err(error) => return Some(format!("{error:#}")),
        };
        match self.ask(&["image", "inspect", "--format", "{{.Id}}", &image]).await {
            Ok(_) => None,
            Err(error) => {
                Some(format!("its image {image} is not on this machine; pull it first ({error:#})"))
            }
        }
    }

    /// The folder that the image works in.
    pub async fn image_work_folder(&self) -> Result<String> {
        let image = self.image()?.image.clone();
        let said = self.ask(&["image", "inspect", "--format", "{{.Config.WorkingDir}}", &image]).await?;
        let folder = said.trim();
        Ok(if folder.is_empty() { "/" } else { folder }.to_owned())
    }

    /// Copies what lies in a folder of the image into `to`.
    pub async fn copy_out_of_image(&self, folder: &str, to: &Path) -> Result<()> {
        let image = self.image()?.image.clone();
        let made = self.ask(&["create", "--pull=never", "--network=none", &image, "none"]).await?;
        let id = made.trim().to_owned();
        let to = to.to_str().context("the folder's name is not UTF-8")?;
        let copied = self.ask(&["cp", &format!("{id}:{folder}/."), to]).await;
        self.ask(&["rm", "-f", &id]).await?;
        copied.map(drop)
    }

    fn image(&self) -> Result<&Container> {
        self.container.as_ref().context("no image was named")
    }

    /// What the engine says to these words. Fails with its complaint.
    async fn ask(&self, words: &[&str]) -> Result<String> {
        let logs = tempfile::tempdir()?;
        let env = [
            ("HOME", self.host.home.clone().into_os_string()),
            ("PATH", std::env::join_paths(&self.host.path)?),
        ];
        let command = Command {
            argv: self.image()?.words(words),
            dir: logs.path().to_owned(),
            env: env.map(|(key, value)| (key.into(), value)).to_vec(),
            input: Vec::new(),
            limits: Limits { wall: Duration::from_mins(5), ..Limits::default() },
            logs: logs.path().to_owned(),
        };
        let finished: Finished = process::run(&command).await?;
        ensure!(finished.exit.success(), "{}: {}", finished.exit, finished.log(400)?.trim());
        finished.stdout.excerpt(4000)
    }
}
