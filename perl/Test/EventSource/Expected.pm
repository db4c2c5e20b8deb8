package Test::EventSource::Expected;
use strict;
use warnings;

# What a test expects of an event, and how an event that is another differs, in words.

our $VERSION = '0.100';

use Carp          qw(croak);
use JSON::MaybeXS ();
use Test::More    ();

our @CARP_NOT = qw(Test::EventSource::Stream);

my $JSON = JSON::MaybeXS->new(utf8 => 0, allow_nonref => 1, allow_blessed => 1, convert_blessed => 1, canonical => 1);

my %IS_FIELD = map { ($_ => 1) } qw(data event id json);

# Takes a hash of what is expected; anything else is the data.
sub new {
    my ($class, $expected) = @_;
    $expected = {data => $expected} if ref $expected ne 'HASH';
    for my $field (sort keys %$expected) {
        croak "Test::EventSource: an event has no '$field', only data, event, id and json" if !$IS_FIELD{$field};
        my $value = $expected->{$field};
        croak "Test::EventSource: the expected $field must be a string or a regular expression"
            if $field ne 'json' && (!defined $value || ref $value && ref $value ne 'Regexp');
    }
    return bless {fields => $expected}, $class;
}

# Public functions and methods

# What is wrong with an event, a text for each field.
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

# Text that a terminal shows as it is, whatever it was: what is no printable ASCII is escaped.
sub escaped {
    my $text = shift;
    $text =~ s/\\/\\\\/g;
    $text =~ s/\r/\\r/g;
    $text =~ s/\n/\\n/g;
    $text =~ s/([^\x20-\x7E])/sprintf ord $1 < 256 ? '\\x%02X' : '\\x{%X}', ord $1/ge;
    return $text;
}

# An event in one line.
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
    my @got = eval { $JSON->decode($data) };
    return 'data is no JSON: ' . _shown($data) if !@got;
    return                                     if Test::More::eq_array(\@got, [$wanted]);
    return _difference(_first_difference($got[0], $wanted, 'json'));
}

# Where two structures differ first: the path, and what stands there.
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
        my ($there, @pair)  = ($step->[0], map { _below($step->[$_], $step->[3]) } 1, 2);
        my ($one,   $other) = @pair;
        return ($there, map { $_ ? _structure($_->[0]) : 'nothing' } @pair) if !$one || !$other;
        return _first_difference($one->[0], $other->[0], $there)            if !Test::More::eq_array($one, $other);
    }
    return ($path, _structure($got), _structure($wanted));
}

# One member of a structure, in an array; undef if there is none.
sub _below {
    my ($structure, $member) = @_;
    return exists $structure->{$member} ? [$structure->{$member}] : undef if ref $structure eq 'HASH';
    return $member < @$structure        ? [$structure->[$member]] : undef;
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
__END__

=encoding utf8

=head1 NAME

Test::EventSource::Expected - What a test expects of an event

=head1 SYNOPSIS

    use Test::EventSource::Expected;

    my $expected = Test::EventSource::Expected->new({event => 'tick', data => qr/^[0-9]+$/});
    print "$_\n" for $expected->differences({event => 'tick', data => 'x', id => ''});

=head1 DESCRIPTION

Compares, and says in words what is different. See L<Test::EventSource::Stream/like_event>.

=head1 METHODS AND FUNCTIONS

=head2 new

    my $expected = Test::EventSource::Expected->new(\%fields);

Croaks for a field that no event has, or a value that is neither a string nor a regular expression.

=head2 differences

    my @texts = $expected->differences($event);

A text for each field that is wrong.

=head2 escaped

    my $text = Test::EventSource::Expected::escaped($bytes);

Text in which all but printable ASCII is escaped.

=head2 shown_event

    my $text = Test::EventSource::Expected::shown_event($event);

An event in one line.

=head1 COPYRIGHT AND LICENSE

Copyright 2026 The EventSource-XS contributors.

This library is free software; you can redistribute it and/or modify it under the same terms as Perl itself.

=cut
