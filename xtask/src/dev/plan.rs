//! Which DynamoDB `dev` uses, and what it must hold.

use std::path::Path;

use chrono::{SubsecRound, Utc};

use crate::{
    embedded_dynamodb::EmbeddedDynamoDb,
    error::{Error, Result},
    existing_dynamodb::{Table, Target},
    history::{self, Sample, StoredHistory},
    worker::Settings,
};

use super::Options;

/// The DynamoDB behind the Worker.
pub struct Source {
    /// The embedded DynamoDB, unless `--endpoint` names another.
    pub embedded: Option<(EmbeddedDynamoDb, StoredHistory)>,
    /// The Worker's settings for it.
    pub settings: Settings,
}

/// Where the data comes from, decided before the steps that take minutes.
pub enum Plan {
    /// An embedded DynamoDB with this sample.
    Embedded(Sample),
    /// A DynamoDB that runs already.
    Existing {
        /// Where it is.
        target: Target,
        /// The table.
        table: String,
        /// The sample to create it with, if it does not exist.
        import: Option<Sample>,
    },
}

impl Plan {
    /// Checks what the options name.
    pub async fn make(folder: &Path, options: &Options) -> Result<Self> {
        let (Some(endpoint), Some(table)) = (&options.endpoint, &options.table) else {
            if options.fresh {
                history::delete(folder)?;
            }
            return choose_sample(StoredHistory::read(folder), options).map(Self::Embedded);
        };
        let target = Target::from_environment(endpoint)?;
        let import = match target.look_for(table, folder).await? {
            Table::Found => {
                eprintln!(
                    "table `{table}` exists: nothing is imported. The Worker reads it and writes its \
                     records into it"
                );
                None
            }
            Table::Absent => Some(asked_sample(options)),
        };
        Ok(Self::Existing { target, table: table.clone(), import })
    }

    /// Starts the DynamoDB and fills it where needed.
    pub async fn carry_out(self, folder: &Path, hours: u32) -> Result<Source> {
        match self {
            Self::Embedded(sample) => {
                let (database, stored) = history::prepare(folder, sample, hours).await?;
                Ok(Source { settings: database.settings(), embedded: Some((database, stored)) })
            }
            Self::Existing { target, table, import } => {
                if let Some(sample) = import {
                    target.import(&table, sample.into(), folder).await?;
                }
                let mut settings = vec![
                    ("AWS_REGION", target.region),
                    ("AWS_ACCESS_KEY_ID", target.access_key_id),
                    ("AWS_SECRET_ACCESS_KEY", target.secret_access_key),
                    ("DYNAMODB_TABLE", table),
                    ("DYNAMODB_ENDPOINT", target.endpoint),
                ];
                settings.extend(target.session_token.map(|token| ("AWS_SESSION_TOKEN", token)));
                Ok(Source { embedded: None, settings })
            }
        }
    }
}

impl Source {
    /// The value of one setting.
    pub fn setting(&self, wanted: &str) -> &str {
        self.settings.iter().find(|(name, _)| *name == wanted).map_or("", |(_, value)| value)
    }
}

/// The sample to use: the stored one, which must have the properties that `options` name.
fn choose_sample(stored: Option<StoredHistory>, options: &Options) -> Result<Sample> {
    let Some(StoredHistory { sample: stored, .. }) = stored else {
        return Ok(asked_sample(options));
    };
    let asked = Sample {
        users: options.users.unwrap_or(stored.users),
        days: options.days.unwrap_or(stored.days),
        seed: options.seed.unwrap_or(stored.seed),
        end: stored.end,
    };
    if asked != stored {
        return Err(Error::OtherSample { stored: stored.to_string(), asked: asked.to_string() });
    }
    Ok(stored)
}

fn asked_sample(options: &Options) -> Sample {
    Sample {
        users: options.users.unwrap_or(120),
        days: options.days.unwrap_or(60),
        seed: options.seed.unwrap_or(1),
        end: Utc::now().trunc_subsecs(0),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::{super::current_hour, *};

    #[derive(Parser)]
    struct Arguments {
        #[command(flatten)]
        options: Options,
    }

    fn options(arguments: &[&str]) -> Options {
        Arguments::parse_from([&["dev"], arguments].concat()).options
    }

    fn sample() -> Sample {
        Sample { users: 200, days: 10, seed: 7, end: current_hour() }
    }

    fn choose(arguments: &[&str]) -> Result<Sample> {
        let stored = StoredHistory { sample: sample(), reached: current_hour() };
        choose_sample(Some(stored), &options(arguments))
    }

    #[test]
    fn the_stored_sample_is_used_unless_the_options_differ() {
        assert_eq!(choose(&[]).unwrap(), sample());
        assert_eq!(choose(&["--users", "200"]).unwrap(), sample());
    }

    #[test]
    fn options_that_differ_from_the_stored_sample_are_rejected_with_the_fix() {
        let text = choose(&["--users", "300"]).unwrap_err().to_string();
        assert!(text.contains("200 users, 10 days and seed 7"), "{text}");
        assert!(text.contains("300 users") && text.contains("--fresh"), "{text}");
    }
}
