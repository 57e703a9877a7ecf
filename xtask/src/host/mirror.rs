//! The archive mirror that this machine itself uses, read from its apt sources.

use std::path::Path;

use anyhow::{Result, bail};

use super::{Distro, Host};

/// One line or paragraph of the sources: address and suites.
#[derive(Debug, PartialEq, Eq)]
struct Source {
    uri: String,
    suites: Vec<String>,
    components: Vec<String>,
}

/// The mirror of the host's own release.
pub(crate) fn find(host: &Host) -> Result<String> {
    let mut texts = vec![(
        "/etc/apt/sources.list".into(),
        read(Path::new("/etc/apt/sources.list")),
    )];
    let mut parts: Vec<_> = std::fs::read_dir("/etc/apt/sources.list.d")
        .into_iter()
        .flatten()
        .flatten()
        .map(|e| e.path())
        .collect();
    parts.sort();
    texts.extend(parts.into_iter().map(|p| (p.clone(), read(&p))));
    let sources = texts
        .iter()
        .flat_map(|(path, text)| match path.extension().and_then(|e| e.to_str()) {
            Some("sources") => deb822(text),
            Some("list") => one_line(text),
            _ => Vec::new(),
        });
    match choose(sources, &host.codename) {
        Some(uri) => Ok(uri),
        None => {
            let file = if host.distro == Distro::Debian {
                "debian.sources"
            } else {
                "ubuntu.sources"
            };
            bail!(
                "no apt source of this machine names the suite {} with the component main: \
                 look at /etc/apt/sources.list and /etc/apt/sources.list.d/{file}",
                host.codename
            )
        }
    }
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

fn choose(sources: impl IntoIterator<Item = Source>, codename: &str) -> Option<String> {
    let wanted = |s: &Source| {
        s.suites.iter().any(|x| x == codename || x == "stable") && s.components.iter().any(|x| x == "main")
    };
    sources.into_iter().find(wanted).map(|s| s.uri)
}

/// `Types: deb` paragraphs.
fn deb822(text: &str) -> Vec<Source> {
    let mut found = Vec::new();
    let text: String = text
        .lines()
        .filter(|l| !l.starts_with('#'))
        .map(|l| format!("{}\n", l.trim_end()))
        .collect();
    for paragraph in text.split("\n\n") {
        let mut fields: Vec<(String, String)> = Vec::new();
        for line in paragraph.lines() {
            if line.starts_with([' ', '\t']) {
                if let Some(last) = fields.last_mut() {
                    last.1 = format!("{} {}", last.1, line.trim());
                }
            } else if let Some((name, value)) = line.split_once(':') {
                fields.push((name.trim().to_ascii_lowercase(), value.trim().to_owned()));
            }
        }
        let words = |name: &str| -> Vec<String> {
            let value = fields.iter().find(|f| f.0 == name).map_or("", |f| f.1.as_str());
            value.split_whitespace().map(str::to_owned).collect()
        };
        if !words("types").contains(&"deb".to_owned()) || words("enabled") == ["no"] {
            continue;
        }
        for uri in words("uris") {
            found.push(Source {
                uri,
                suites: words("suites"),
                components: words("components"),
            });
        }
    }
    found
}

/// `deb [options] uri suite component...` lines.
fn one_line(text: &str) -> Vec<Source> {
    let mut found = Vec::new();
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or_default().trim();
        let Some(rest) = line.strip_prefix("deb").filter(|r| r.starts_with([' ', '\t'])) else {
            continue;
        };
        let rest = rest.trim_start();
        let rest = match rest.strip_prefix('[').and_then(|r| r.split_once(']')) {
            Some((_options, rest)) => rest,
            None => rest,
        };
        let mut words = rest.split_whitespace().map(str::to_owned);
        if let (Some(uri), Some(suite)) = (words.next(), words.next()) {
            found.push(Source {
                uri,
                suites: vec![suite],
                components: words.collect(),
            });
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_deb822() {
        let text = "# made by hand\nTypes: deb\n# a comment inside\nURIs: http://a.example/debian\nSuites: bookworm\n bookworm-updates\n\
                    Components: main\n\nTypes: deb deb-src\nEnabled: no\nURIs: http://b.example\nSuites: bookworm\nComponents: main\n\n\
                    Types: deb-src\nURIs: http://c.example\nSuites: bookworm\nComponents: main\n";
        let sources = deb822(text);
        assert_eq!(sources.len(), 1);
        assert_eq!(sources[0].suites, ["bookworm", "bookworm-updates"]);
        assert_eq!(
            choose(sources, "bookworm").as_deref(),
            Some("http://a.example/debian")
        );
    }

    #[test]
    fn reads_one_line_format() {
        let text = "# deb http://no.example x main\ndeb-src http://s.example bookworm main\n\
                    deb [arch=amd64 signed-by=/k.gpg] http://tool.example bookworm stable\n\
                    deb [ trusted=yes ] http://a.example/debian bookworm main contrib # why\ndeb\thttp://b.example bookworm main\n";
        assert_eq!(
            choose(one_line(text), "bookworm").as_deref(),
            Some("http://a.example/debian")
        );
        assert_eq!(choose(one_line(text), "trixie"), None);
    }
}
