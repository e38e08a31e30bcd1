// SPDX-License-Identifier: Apache-2.0

/// Declares a side's vocabulary: the request type, and the type of its kinds (a request without its
/// operands), which the phase table speaks of.
macro_rules! vocabulary {
    (
        $(#[$doc:meta])* $request:ident, $(#[$kind_doc:meta])* $kind:ident {
            $( $(#[$var_doc:meta])* $variant:ident $(( $payload:ty ))? ),+ $(,)?
        }
    ) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
        pub enum $request {
            $( $(#[$var_doc])* $variant $(( $payload ))? ),+
        }

        $(#[$kind_doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[allow(missing_docs, reason = "as the request of the same name")]
        pub enum $kind {
            $( $variant ),+
        }

        impl $kind {
            /// All kinds.
            pub const ALL: &'static [Self] = &[ $( Self::$variant ),+ ];

            /// The name, as in the vocabulary.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $( Self::$variant => stringify!($variant) ),+
                }
            }
        }

        impl $request {
            /// What kind of request it is.
            #[must_use]
            pub fn kind(&self) -> $kind {
                match self {
                    $( Self::$variant { .. } => $kind::$variant ),+
                }
            }
        }
    };
}

pub(crate) use vocabulary;
