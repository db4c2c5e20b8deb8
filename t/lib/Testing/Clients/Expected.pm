package Testing::Clients::Expected;
use strict;
use warnings;

# What each client does, as the tests in t/clients measure it: its own faults, each with the reason. A client that does more or
# less than this fails the test. The POD in perl/EventSource/Clients.pod has the same as a table.
#
#   is_deeply $measured, expected('curl')->{data};

use Carp     qw(croak);
use Exporter qw(import);

our @EXPORT_OK = qw(clients expected pod runs version);

# The questions, and how they are called in the table.
my @QUESTIONS = (
    [data     => 'data'],
    [cuts     => 'once'],
    [early    => 'early cut'],
    [head     => 'cut head'],
    [harmless => 'quiet'],
    [gap      => 'gap'],
    [end      => 'end'],
);

# The clients: name, version if the tests install it, what it runs in.
my @CLIENTS = (
    ['Chromium',              '',              'browser'],
    ['eventsource 2',         '2.0.2',         'node'],
    ['eventsource 5',         '5.1.5',         'node'],
    ['event-source-polyfill', '1.0.31',        'browser'],
    ['fetch-event-source',    '2.0.1',         'browser'],
    ['Datastar',              '1.0.0-beta.11', 'browser'],
    ['htmx',                  '2.0.11',        'browser'],
    ['httpx-sse',             '0.4.3',         'python'],
    ['sseclient-py',          '1.9.0',         'python'],
    ['reqwest-eventsource',   '0.6.0',         'rust'],
    ['eventsource-client',    '0.18.0',        'rust'],
    ['curl',                  '',              'curl'],
);

# A client that t/clients/openai.t runs, with its answers: it has no last event ID.
my @OPENAI =
    ('openai', data => 'yes', cuts => '-', early => 'no', head => 'yes', harmless => 'no', gap => '-', end => 'yes');
my @OPENAI_FAULTS = (
    'The SDK for Python. It repeats a request that fails before the head of its response, but a cut within a stream is an'
        . ' exception.',
    'It takes a block without data for a chunk, and fails: an application for it sets no C<retry>, has no'
        . ' L<position|EventSource::Hub/position> (C<none>), and answers POST (L<Plack::App::EventSource/methods>). Ids and'
        . ' keepalives do no harm.',
);

# The faults: the client, the question, what the test measures, and why.
my @FAULTS = (
    [
        'Chromium',
        head => ['gives up'],
        'A connection that is closed within the head of the response, before its C<Content-Type>, ends the EventSource for'
            . ' good: Chromium takes what it has of the head for the whole.'
    ],
    [
        'eventsource 2',
        cuts => ['one event is lost'],
        'It takes the id of an event before the event is complete. A connection that is cut after the line of the id and'
            . ' before the blank line loses the event. The id is the last line of each block here, so this is one byte of an'
            . ' event. It also keeps the data of an incomplete event and puts it before that of the first event after it has'
            . ' reconnected: of the position, which does no harm if the application does not listen to it.'
    ],
    [
        'event-source-polyfill',
        head => ['gives up'],
        'A connection that is closed within the head ends it for good, as in Chromium, in which it runs.'
    ],
    [
        'fetch-event-source',
        data => ['an empty line first', 'a byte order mark'],
        'It drops empty lines at the beginning of the data, and a byte order mark at the beginning of a line.'
    ],
    [
        'fetch-event-source',
        cuts => ['one event is lost'],
        'It takes the id of an event before the event is complete, and loses it if the connection is cut between the two,'
            . ' as eventsource 2 does.'
    ],
    [
        'fetch-event-source',
        harmless => ['an empty message after a retry alone'],
        'It delivers each block as a message, even if it has no data. The first block of a hub has a type and data; that'
            . ' of a L<Plack::App::EventSource> with C<retry> has none, and so is an empty message.'
    ],
    [
        'fetch-event-source',
        end => ['does not come back'],
        'It takes the end of a response for the end of the stream. Let C<onclose> throw an exception, and it reconnects,'
            . ' as an EventSource does.'
    ],
    [
        'Datastar',
        cuts => ['one event is lost'],
        'It takes the id of an event before the event is complete, as fetch-event-source does: it has a copy of it.'
    ],
    [
        'Datastar',
        head => ['gives up'],
        'A connection that is closed within the head is a response that has ended: it does not reconnect.'
    ],
    [
        'Datastar',
        end => ['does not come back'],
        'It takes the end of a response for the end of the stream. It also gives up after ten reconnections of one stream,'
            . ' unless C<retryMaxCount> is set. It ignores events whose type does not begin with C<datastar>: set the hub\'s'
            . ' L<gap_event|EventSource::Hub/gap_event> to C<datastar-merge-signals> and its'
            . ' L<gap_data|EventSource::Hub/gap_data> to C<signals {"gap": true}>, for example.'
    ],
    [
        'htmx',
        end => ['comes back for ever'],
        'It creates a new EventSource when a response of 204 has ended one, and so asks for ever, and without the last'
            . ' event ID. Name the event of L<Plack::App::EventSource::Connection/finish> in C<sse-close>.'
    ],
    [
        'httpx-sse',
        harmless => ['an empty message after a retry alone'],
        'It delivers each block as an event, even if it has no data.'
    ],
    [
        'eventsource-client',
        end => ['comes back for ever'],
        'It reconnects after a response of 204.'
    ],
);

# Public functions

# The names of the clients.
sub clients {
    return map { $_->[0] } @CLIENTS;
}

# The faults of a client, as a hash: for each question what the test measures, nothing if there is no fault.
sub expected {
    my $client   = shift;
    my %expected = map { ($_->[0] => []) } @QUESTIONS;
    $expected{$_->[1]} = $_->[2] for grep { $_->[0] eq $client } @FAULTS;
    return \%expected;
}

# The table and the faults, as POD.
sub pod {
    my $format = "    %-23s" . join('', map { '  %-' . length($_->[1]) . 's' } @QUESTIONS) . "\n";
    my $pod    = _line($format, 'client', map { $_->[1] } @QUESTIONS);
    for my $client (clients()) {
        my $expected = expected($client);
        $pod .= _line($format, $client, map { @{$expected->{$_->[0]}} ? 'no' : 'yes' } @QUESTIONS);
    }
    my (undef, %openai) = @OPENAI;
    $pod .= _line($format, $OPENAI[0], map { $openai{$_->[0]} } @QUESTIONS);
    for my $client (clients()) {
        my @faults  = grep { $_->[0] eq $client } @FAULTS or next;
        my $version = version($client);
        $pod .= "\n=head2 " . ($client =~ s/ [0-9]+\z//r . " $version") =~ s/ \z//r . "\n";
        $pod .= "\n" . _wrapped($_->[3]) for @faults;
    }
    return join "\n", $pod, "=head2 openai\n", map { _wrapped($_) } @OPENAI_FAULTS;
}

# What a client runs in: browser, curl, node, python or rust.
sub runs {
    my $client = shift;
    my ($runs) = map { $_->[2] } grep { $_->[0] eq $client } @CLIENTS;
    return $runs // croak "Expected: there is no client '$client'";
}

# The version of a client that the tests install; empty if they do not.
sub version {
    my $client = shift;
    my ($version) = map { $_->[1] } grep { $_->[0] eq $client } @CLIENTS;
    return $version;
}

# Private functions

sub _line {
    my ($format, @cells) = @_;
    return sprintf($format, @cells) =~ s/ +$//r;
}

# Paragraphs of at most 120 columns.
sub _wrapped {
    my ($text, $lines, $line) = (shift, '', '');
    for my $word (split / /, $text) {
        if (length "$line $word" > 120) { $lines .= "$line\n"; $line = '' }
        $line = length $line ? "$line $word" : $word;
    }
    return "$lines$line\n";
}

1;
