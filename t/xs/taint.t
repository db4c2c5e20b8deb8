#!perl -T
# What is made of tainted text is tainted.

use strict;
use warnings;

use EventSource::XS qw(format_event);
use HTTP::ServerEvent;
use Scalar::Util qw(tainted);
use Test::More;

my $taint = substr $ENV{PATH} . $0, 0, 0;
plan skip_all => 'this perl does not taint' if !tainted($taint);

{

    package Overloaded;
    use overload '""' => sub { my $text = 'clean'; return $text }
}

my $object = bless {}, 'Overloaded';
for my $case (
    ['alone'                      => "x$taint"],
    ['before an overloaded value' => "x$taint",        $object],
    ['after one'                  => $object,          "x$taint"],
    ['between two'                => $object,          "x$taint", $object],
    ['which is no UTF-8'          => "\x{D800}$taint", $object],
) {
    my ($where, @data) = @$case;
    ok tainted(format_event(data => [@data])),                 "format_event: a tainted text $where";
    ok tainted(EventSource::XS::_push_bytes(1, @data)),        "push: a tainted text $where";
    ok tainted(HTTP::ServerEvent->as_string(data => [@data])), "as_string: a tainted text $where";
}
ok !tainted(format_event(data => ['x', $object])), 'what is made of clean text is clean';

done_testing;
