package EventSource::XS::Hub::Name;
use strict;
use warnings;

# How long the name of a channel may be. Patterns, keys and ids have the same bound. The native hub checks it, too
# (src/xs/hub.h, src/hub/publishing/refusal.rs); t/hub/shared_rules.t compares them.

my $MAX_BYTES = 1024;    # in UTF-8

# Public methods

sub max_bytes { return $MAX_BYTES }

# The mistake in a name, as the end of a sentence; undef if it is right.
sub problem {
    my ($class, $name) = @_;
    return 'must not be empty' if !length $name;
    utf8::encode(my $bytes = $name);
    return length $bytes > $MAX_BYTES ? "must have at most $MAX_BYTES bytes in UTF-8" : undef;
}

1;
