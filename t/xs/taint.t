#!perl -T
# Taint mode: what is made of tainted strings is tainted, and nothing else is.

use strict;
use warnings;

use EventSource::Parser;
use EventSource::XS qw(format_event);
use HTTP::ServerEvent;
use Scalar::Util qw(tainted);
use Test::More;

my $evil = substr "$0$^X", 0, 0;
plan skip_all => 'this perl does not taint' if !tainted($evil);

my %way = (
    format_event  => sub { return format_event(data => $_[0]) },
    'a hash'      => sub { return format_event({data => [$_[0]]}) },
    as_string     => sub { return HTTP::ServerEvent->as_string(data => $_[0]) },
    push          => sub { return EventSource::XS::_push_bytes(0, $_[0]) },
    'a long text' => sub { return format_event(data => $_[0] . 'x' x 1_000) },
);
for my $name (sort keys %way) {

    # One call site each, whose target is used again: the taint of the first must not stay for the second.
    my @tainted = map { tainted($way{$name}->($_)) ? 1 : 0 } "a$evil", 'a', "b$evil", 'b';
    is "@tainted",              '1 0 1 0',          $name;
    is $way{$name}->("x$evil"), $way{$name}->('x'), "$name: the same bytes";
}

my $parser = EventSource::Parser->new;
my ($event) = $parser->feed("data: x\n\n$evil");
is $event->{data}, 'x', 'tainted bytes are parsed';

done_testing;
