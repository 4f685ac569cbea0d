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
    /// Messages of a zygote.
    ZygoteSays(u64),
    /// The end of a zygote.
    ZygoteEnd(u64),
}

impl Token {
    /// The number for the poller.
    pub(super) fn number(self) -> u64 {
        match self {
            Token::Control => 0,
            Token::Signal => 1 << 3,
            Token::Status(key) => key << 3 | 1,
            Token::End(key) => key << 3 | 2,
            Token::Memory(key) => key << 3 | 3,
            Token::ZygoteSays(key) => key << 3 | 4,
            Token::ZygoteEnd(key) => key << 3 | 5,
        }
    }

    /// The token of a number.
    pub(super) fn from_number(number: u64) -> Token {
        match (number >> 3, number & 7) {
            (0, 0) => Token::Control,
            (_, 0) => Token::Signal,
            (key, 1) => Token::Status(key),
            (key, 2) => Token::End(key),
            (key, 3) => Token::Memory(key),
            (key, 4) => Token::ZygoteSays(key),
            (key, _) => Token::ZygoteEnd(key),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens() {
        for token in [
            Token::Control,
            Token::Signal,
            Token::Status(1),
            Token::End(7),
            Token::Memory(9),
            Token::ZygoteSays(0),
            Token::ZygoteEnd(3),
        ] {
            assert_eq!(Token::from_number(token.number()), token);
        }
    }
}
