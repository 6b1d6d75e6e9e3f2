//! Parses and checks `metrics.toml` and embeds it, so that a catalogue that is not valid does not build.

use std::{
    env,
    error::Error,
    fs,
    hash::{DefaultHasher, Hash, Hasher},
    path::Path,
};

#[path = "src/metrics/catalogue"]
mod catalogue {
    pub mod check;
    pub mod check_values;
    #[allow(dead_code, unused_imports, reason = "the crate uses what the build script does not")]
    pub mod definition;
    pub mod document;
    pub mod parse;
    pub mod parse_metric;
}

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=metrics.toml");
    println!("cargo::rerun-if-changed=src/metrics/catalogue");
    let text = fs::read_to_string("metrics.toml")
        .map_err(|error| format!("metrics.toml cannot be read: {error}"))?;
    match catalogue::check::parse(&text) {
        Ok(definition) => {
            let target = Path::new(&env::var("OUT_DIR")?).join("catalogue.postcard");
            let catalogue = postcard::to_allocvec(&definition)?;
            let mut hasher = DefaultHasher::new();
            catalogue.hash(&mut hasher);
            println!("cargo::rustc-env=CATALOGUE_FINGERPRINT={:016x}", hasher.finish());
            fs::write(target, catalogue)?;
        }
        Err(why) => println!("cargo::error=metrics.toml, {why}"),
    }
    Ok(())
}
