package EventSource::XS::Hub::Name;
use strict;
use warnings;

# The rules of names: that of a channel, a pattern of such names, that of a hub and the path of its socket. Keys and ids have
# the bound of channels. The native hub checks them, too (src/hub/sequence.rs, src/wire/first_messages.rs);
# t/hub/shared_rules.t compares them.

use EventSource::XS::Library;
use EventSource::XS::Settings;

my $SETTINGS = EventSource::XS::Settings->new('EventSource::Hub');

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

# A pattern of channels' names. It is an object, so that a name from a request is never taken for a pattern.
sub pattern {
    my ($class, $given) = @_;
    $SETTINGS->refuse(pattern => 'a pattern must be a string that is not empty')
        if !defined $given || ref $given || !length $given;
    my $text = $class->checked($SETTINGS, pattern => 'a pattern', $given);
    return bless \$text, 'EventSource::XS::Hub::Pattern';
}

# The mistake in a name, as the end of a sentence; undef if it is right.
sub problem {
    my ($class, $name) = @_;
    return 'must not be empty'                                      if !length $name;
    return 'must not begin with NUL, as channels of the library do' if $name =~ /\A\0(?!EventSource)/;
    utf8::encode(my $bytes = $name);
    return length $bytes > $MAX_BYTES ? "must have at most $MAX_BYTES bytes in UTF-8" : undef;
}

# The same for the name of a hub, which is the name of files.
sub problem_of_hub {
    my ($class, $name) = @_;
    return undef if $name =~ /\A[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}\z/;
    return 'must be 1 to 64 letters, digits, _, - and ., beginning with a letter, a digit or _';
}

# The path of a socket in bytes, as perl gives it to the system.
sub socket {
    my ($class, $settings, $given) = @_;
    my $path = $settings->string(socket => $given);
    $settings->refuse(socket => 'socket must be an absolute path without a NUL, such as /run/shop/hub.sock')
        if defined $path && $path !~ m{\A/[^\0]+\z};
    utf8::encode($path) if defined $path && utf8::is_utf8($path);
    return $path;
}

1;
