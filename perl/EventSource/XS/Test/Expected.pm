package EventSource::XS::Test::Expected;
use strict;
use warnings;

# Compares an event with a test's expectation and describes the differences.

use EventSource::XS::Settings;
use JSON::MaybeXS ();
use Test::More    ();

my $JSON = JSON::MaybeXS->new(utf8 => 0, allow_nonref => 1, allow_blessed => 1, convert_blessed => 1, canonical => 1);

my $SETTINGS = EventSource::XS::Settings->new('Test::EventSource');

my %IS_FIELD = map { ($_ => 1) } qw(data event id json);

sub new {
    my ($class, $expected) = @_;
    $expected = {data => $expected} if ref $expected ne 'HASH';
    for my $field (sort keys %$expected) {
        $SETTINGS->refuse($field => "an event has no '$field', only data, event, id and json") if !$IS_FIELD{$field};
        my $value = $expected->{$field};
        $SETTINGS->refuse($field => "the expected $field must be a string or a regular expression")
            if $field ne 'json' && (!defined $value || ref $value && ref $value ne 'Regexp');
    }
    return bless {fields => $expected}, $class;
}

# Public functions and methods

sub differences {
    my ($self, $event) = @_;
    my %want = %{$self->{fields}};
    my $json = delete $want{json};
    my @wrong;
    for my $field (sort keys %want) {
        my ($is, $want) = ($event->{$field}, $want{$field});
        next if ref $want ? $is =~ $want : $is eq $want;
        push @wrong, _difference($field, _shown($is), _shown($want));
    }
    push @wrong, _difference_in_json($event->{data}, $json) if exists $self->{fields}{json};
    return @wrong;
}

# Escapes everything but printable ASCII, so that a terminal shows the text as it is.
sub escaped {
    my $text = shift;
    $text =~ s/\\/\\\\/g;
    $text =~ s/\r/\\r/g;
    $text =~ s/\n/\\n/g;
    $text =~ s/([^\x20-\x7E])/sprintf ord $1 < 256 ? '\\x%02X' : '\\x{%X}', ord $1/ge;
    return $text;
}

sub shown_event {
    my $event = shift;
    return join ', ', map { "$_ " . _shown($event->{$_}) } qw(event data id);
}

# Private functions

sub _difference {
    my ($what, $got, $wanted) = @_;
    return "$what\n     got: $got\nexpected: $wanted";
}

sub _difference_in_json {
    my ($data, $wanted) = @_;
    my @got = do {
        local $SIG{__DIE__};
        eval { $JSON->decode($data) }
    };
    return 'data is not JSON: ' . _shown($data) if !@got;
    return                                      if Test::More::eq_array(\@got, [$wanted]);
    return _difference(_first_difference($got[0], $wanted, 'json'));
}

# Returns the path of the first difference and the two values there.
sub _first_difference {
    my ($got, $wanted, $path) = @_;
    my @steps;
    if (ref $got eq 'HASH' && ref $wanted eq 'HASH') {
        my %all = (%$got, %$wanted);
        @steps = map { [$path . '{' . escaped($_) . '}', $got, $wanted, $_] } sort keys %all;
    }
    elsif (ref $got eq 'ARRAY' && ref $wanted eq 'ARRAY') {
        my $last = $#{@$got > @$wanted ? $got : $wanted};
        @steps = map { ["${path}[$_]", $got, $wanted, $_] } 0 .. $last;
    }
    for my $step (@steps) {
        my ($there, @pair)  = ($step->[0], map { _member($step->[$_], $step->[3]) } 1, 2);
        my ($one,   $other) = @pair;
        return ($there, map { $_ ? _structure($_->[0]) : 'nothing' } @pair) if !$one || !$other;
        return _first_difference($one->[0], $other->[0], $there)            if !Test::More::eq_array($one, $other);
    }
    return ($path, _structure($got), _structure($wanted));
}

# Returns one member of a structure, in an array; undef if there is none.
sub _member {
    my ($structure, $name) = @_;
    return exists $structure->{$name} ? [$structure->{$name}] : undef if ref $structure eq 'HASH';
    return $name < @$structure        ? [$structure->[$name]] : undef;
}

sub _shown {
    my $value = shift;
    return ref $value ? "a match of $value" : "'" . escaped($value) . "'";
}

sub _structure {
    my $structure = shift;
    my $text      = eval { $JSON->encode($structure) };
    return defined $text ? escaped($text) : "$structure";
}

1;
