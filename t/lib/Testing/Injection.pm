package Testing::Injection;
use Testing;

# Checks that a string for one field of an event cannot inject anything else. Every string of up to three characters, of
# those with a meaning in the format, is either refused, or parsed as exactly that string by two parsers: npm's and ours.
#
#   my %expected = expected_lines();
#   no_injection(id => sub { format_event(id => $_[0], data => 'beside') }, $expected{id});

use Testing::Developer  qw(needs);
use EventSource::Parser ();
use Exporter            qw(import);
use JSON::MaybeXS       ();
use Testing::Node       qw(node_missing parse_elsewhere);

our @EXPORT_OK = qw(expected_lines injected lines no_injection require_parser);

# Line ends, what separates names from values, what decoders treat in a way of their own, and one of each length.
my @CHARACTERS = ("\r", "\n", "\0", ':', ' ', 'a', '7', 'é', '☺', "\x{FEFF}");

# Sent after each block. It arrives unchanged only if nothing of the block is left over.
my $SENTINEL = "data: sentinel\n\n";

my $JSON = JSON::MaybeXS->new(canonical => 1, ascii => 1);

# Returns the expectation for `injected` for each field that is given beside data => 'beside'. A value is one line of any
# characters except line breaks and NUL. A retry may be any such line too, as in the modules that this project replaces. A
# client takes the retry if it is a number.
sub expected_lines {
    my %seen = (
        event => sub { return {events  => [{event => length $_[0] ? $_[0] : 'message', data => 'beside'}]} },
        id    => sub { return {events  => [{id    => $_[0],                            data => 'beside'}]} },
        retry => sub { return {retries => [$_[0] =~ /\A[0-9]+\z/ ? 0 + $_[0] : ()], events => [{data => 'beside'}]} },
    );
    return map {
        my $seen = $seen{$_};
        ($_ => sub { return $_[0] =~ /[\r\n\0]/ ? undef : $seen->($_[0]) })
    } keys %seen;
}

# Returns the failures of a field as sentences; an empty list means success. The encoder returns bytes or dies. `expected`
# returns the parsed output {events, comments, retries}, or undef if the encoder must die. Both take the string.
sub injected {
    my ($encoder, $expected) = @_;
    my (@wrong, @sent);
    for my $string (_strings()) {
        my $bytes = eval { $encoder->($string) };
        my $want  = $expected->($string);
        if    (defined $bytes && $want) { push @sent,  [$string, $bytes . $SENTINEL, _with_defaults($want)] }
        elsif (defined $bytes)          { push @wrong, _named($string) . ' is not refused' }
        elsif ($want)                   { push @wrong, _named($string) . " is refused: $@" }
    }
    my $elsewhere = parse_elsewhere(map { $_->[1] } @sent);
    for my $at (0 .. $#sent) {
        my ($string, $bytes, $want) = @{$sent[$at]};
        my $theirs = $JSON->encode($elsewhere->[$at]);
        my $ours   = $JSON->encode([EventSource::Parser->new->feed($bytes)]);
        push @wrong, _named($string) . " arrives as $theirs" if $theirs ne $JSON->encode($want);
        push @wrong, _named($string) . " is to us $ours"     if $ours ne $JSON->encode($want->{events});
    }
    return @wrong;
}

# Text as a client sees its lines.
sub lines {
    my $text = shift;
    $text =~ s/\r\n?/\n/g;
    return $text;
}

# Makes one test: no string for this field injects anything.
sub no_injection {
    my ($name, $encoder, $expected) = @_;
    my @wrong = injected($encoder, $expected);
    my $count = () = _strings();
    ok !@wrong, "$name: each of $count strings is refused or arrives unchanged";
    diag join "\n", @wrong > 10 ? (@wrong[0 .. 9], '... and ' . (@wrong - 10) . ' more') : @wrong if @wrong;
    return;
}

# Ends the test file if npm's parser is not available.
sub require_parser {
    return needs(node_missing());
}

sub _named { return $JSON->allow_nonref->encode($_[0]) }

sub _strings {
    my @strings = ('');
    my @longest = @strings;
    for (1 .. 3) {
        @longest = map {
            my $string = $_;
            map { $string . $_ } @CHARACTERS
        } @longest;
        push @strings, @longest;
    }
    return @strings;
}

# An event that is not named is a message; ids last; the sentinel comes last.
sub _with_defaults {
    my $want   = shift;
    my $id     = '';
    my @events = map { $id = $_->{id} if defined $_->{id}; {event => 'message', %$_, id => $id} } @{$want->{events}};
    push @events, {event => 'message', id => $id, data => 'sentinel'};
    return {comments => [], retries => [], strange => [], %$want, events => \@events};
}

1;
