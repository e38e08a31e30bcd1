// SPDX-License-Identifier: Apache-2.0
use std::fmt;

/// Something in the config that cannot be carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    field: String,
    text: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.text)
    }
}

/// Everything that is wrong with a config, in the order in which it was found. One run shows all of
/// it, so that a config is mended once.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Problems(Vec<Problem>);

impl Problems {
    /// Notes that `field` (a path such as `mounts[3].type`) cannot be carried out.
    pub(crate) fn add(&mut self, field: impl fmt::Display, text: impl Into<String>) {
        self.0.push(Problem { field: field.to_string(), text: text.into() });
    }

    /// Notes that a field is set that this version cannot honour.
    pub(crate) fn unsupported(&mut self, field: impl fmt::Display) {
        self.add(field, "is not supported yet; remove it");
    }

    /// The value, or nothing and a note on `field`. The field's name costs nothing while all is
    /// well: pass `format_args!`.
    pub(crate) fn check<T, E: fmt::Display>(
        &mut self,
        field: fmt::Arguments<'_>,
        result: Result<T, E>,
    ) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(e) => {
                self.add(field, e.to_string());
                None
            }
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, problem) in self.0.iter().enumerate() {
            let separator = if i == 0 { "" } else { "; " };
            write!(f, "{separator}{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_problems_are_shown_in_one_line() {
        let mut problems = Problems::default();
        problems.unsupported("linux.seccomp");
        assert_eq!(problems.check(format_args!("mounts[{}]", 3), Ok::<_, String>(7)), Some(7));
        assert_eq!(problems.check(format_args!("mounts[{}]", 4), Err::<u8, _>("is odd")), None);
        assert_eq!(
            problems.to_string(),
            "linux.seccomp: is not supported yet; remove it; mounts[4]: is odd"
        );
    }
}
