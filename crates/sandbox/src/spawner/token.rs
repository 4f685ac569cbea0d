//! What the numbers in the poller stand for.

/// What a descriptor in the poller belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Token {
    /// Requests of the server.
    Control,
    /// The signal to end.
    Signal,
    /// Messages of a sandbox's init.
    Status(u64),
    /// The end of a sandbox's init.
    End(u64),
    /// Memory events of a sandbox.
    Memory(u64),
}

impl Token {
    /// The number for the poller.
    pub(super) fn number(self) -> u64 {
        match self {
            Token::Control => 0,
            Token::Signal => 1,
            Token::Status(key) => key << 2 | 1,
            Token::End(key) => key << 2 | 2,
            Token::Memory(key) => key << 2 | 3,
        }
    }

    /// The token of a number.
    pub(super) fn from_number(number: u64) -> Token {
        match (number >> 2, number & 3) {
            (0, 0) => Token::Control,
            (0, _) => Token::Signal,
            (key, 1) => Token::Status(key),
            (key, 2) => Token::End(key),
            (key, _) => Token::Memory(key),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens() {
        for token in [Token::Control, Token::Signal, Token::Status(1), Token::End(7), Token::Memory(9)] {
            assert_eq!(Token::from_number(token.number()), token);
        }
    }
}
