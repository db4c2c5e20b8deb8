# Arguments that work against the function they are given to: nothing that Perl code does while it is being read may
# harm memory, and nothing of it is read twice.
#
# Most of these passed by luck without the care that they check: run them under valgrind (script/sanitize) too.

use strict;
use warnings;

use EventSource::Parser;
use EventSource::XS qw(format_event);
use HTTP::ServerEvent;
use Test::More;

subtest 'an empty text from Rust has no end that could be looked for' => sub {
    my $parser = EventSource::Parser->new;
    is $parser->last_event_id, '', 'the ID of a new parser';
    is_deeply [$parser->feed("data\n\n")], [{event => 'message', data => '', id => ''}], 'data and ID of an event';
};

subtest 'local on the hash of a parser makes no second owner' => sub {
    my $parser = EventSource::Parser->new;
    our %object;
    local *object = $parser;
    {
        local %object;
        ok !eval { EventSource::Parser::feed(bless(\%object, 'EventSource::Parser'), 'x') }, 'the local hash is none';
        like $@, qr/this is no parser/, 'and says so';
    }
    is $parser->feed("data: 1\n\n"), 1, 'the parser is still there';
};

done_testing;
