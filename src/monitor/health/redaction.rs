//! Texts of failures without the names of AWS resources: those are for the operator's log, not for
//! the readers of `/health`.

/// The length to which the text of a failure is shortened.
const MAXIMUM_TEXT_CHARACTERS: usize = 300;

/// The text without ARNs and without the table or index of a failed request, shortened. AWS names
/// users, accounts and tables in its texts.
pub(super) fn redacted(text: &str) -> String {
    let all: Vec<&str> = text.split(' ').collect();
    let is_target = |at: usize| {
        at > 0
            && all[at - 1] == "on"
            && all.get(at + 1).is_some_and(|next| next.starts_with("failed"))
    };
    let is_name = |at: usize| is_target(at) || all[at].to_ascii_lowercase().contains("arn:");
    let words: Vec<&str> =
        all.iter().enumerate().map(|(at, word)| if is_name(at) { "…" } else { word }).collect();
    let mut short: String = words
        .join(" ")
        .chars()
        .take(MAXIMUM_TEXT_CHARACTERS + 1)
        .map(|character| if character.is_control() { '\u{fffd}' } else { character })
        .collect();
    if let Some((cut, _)) = short.char_indices().nth(MAXIMUM_TEXT_CHARACTERS) {
        short.truncate(cut);
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_and_arns_are_replaced() {
        let arn = "arn:aws:iam::123456789012:user/worker";
        let text = format!(
            "Query on platform/GSI4 failed after 3 attempts: AccessDeniedException (HTTP 400): User: \
             {arn} may not query on Mondays"
        );
        let expected = "Query on … failed after 3 attempts: AccessDeniedException (HTTP 400): User: \
                        … may not query on Mondays";
        assert_eq!(redacted(&text), expected);
        assert_eq!(
            redacted("User: arn:aws:iam::123456789012:user/me is not authorized"),
            "User: … is not authorized"
        );
    }

    #[test]
    fn long_texts_are_shortened() {
        assert_eq!(redacted(&"x".repeat(400)).chars().count(), MAXIMUM_TEXT_CHARACTERS + 1);
    }
}
