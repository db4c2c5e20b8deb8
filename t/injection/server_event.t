# No string given to HTTP::ServerEvent->as_string becomes anything but the field that it was given for.

use strict;
use warnings;
use utf8;

use lib 't/lib';
use Encode            qw(encode);
use HTTP::ServerEvent ();
use Injection         qw(lines no_injection require_parser);
use Test::More;

require_parser();

sub as_bytes { return encode('UTF-8', HTTP::ServerEvent->as_string(@_)) }

my %expected = (
    event => sub {
        return if $_[0] =~ /[\r\n\0]/;
        return {events => [{event => length $_[0] ? $_[0] : 'message', data => 'beside'}]};
    },
    id => sub {
        return if $_[0] =~ /[\r\n\0]/;
        return {events => [{id => $_[0], data => 'beside'}]};
    },

    # Any one line is sent, as always; a client takes it if it is a number.
    retry => sub {
        return if $_[0] =~ /[\r\n\0]/;
        return {retries => [$_[0] =~ /\A[0-9]+\z/ ? 0 + $_[0] : ()], events => [{data => 'beside'}]};
    },

    # Line breaks at the end of data are dropped, and data of which nothing is left, as always.
    data => sub {
        my $data = lines($_[0]);
        $data =~ s/\n+\z//;
        return {events => [length $data ? {data => $data} : ()]};
    },
);
for my $field (sort keys %expected) {
    my @beside = $field eq 'data' ? () : (data => 'beside');
    no_injection($field, sub { as_bytes($field => $_[0], @beside) }, $expected{$field});
}

done_testing;
