package EventSource::XS::Hub::Name;
use strict;
use warnings;

# How long the name of a channel may be. Patterns, keys and ids have the same bound. The native hub checks it, too
# (src/xs/hub.h, src/hub/publishing/refusal.rs); t/hub/shared_rules.t compares them.

use Carp ();
use EventSource::XS::Library;

# Carp reports no line of this package: a wrong name is the mistake of the code that called our caller.
$Carp::CarpInternal{+__PACKAGE__} = 1;

my $MAX_BYTES = 1024;    # in UTF-8

# Public methods

# A name in characters, of what an application has given. Refuses one that is wrong.
sub checked {
    my ($class, $settings, $field, $what, $given) = @_;
    my $name    = $settings->name($what, $given, field => $field);
    my $problem = $class->problem($name);
    $settings->refuse($field, "$what $problem") if defined $problem;
    return $name;
}

sub max_bytes { return $MAX_BYTES }

# The mistake in a name, as the end of a sentence; undef if it is right.
sub problem {
    my ($class, $name) = @_;
    return 'must not be empty' if !length $name;
    utf8::encode(my $bytes = $name);
    return length $bytes > $MAX_BYTES ? "must have at most $MAX_BYTES bytes in UTF-8" : undef;
}

1;
