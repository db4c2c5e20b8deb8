# The lines of a log file as they are written. An id is a position in the file, so a client resumes where it was.
use strict;
use warnings;

use Plack::App::EventSource;

my $FILE = $ENV{LOG_FILE} || die "LOG_FILE is not set\n";

sub tail {
    my ($conn, $from) = @_;
    open my $log, '<:raw', $FILE or return $conn->push({event => 'failed', data => "$!"});
    seek $log, $from, 0;
    $conn->push({id => $from});    # where a client resumes that has received no line yet
    while ($conn->is_open) {
        while (defined(my $line = readline $log)) {
            if ($line !~ s/\n\z//) { seek $log, -length $line, 1; last }    # half a line: read it again later
            $conn->push({id => tell $log, data => $line}) or return;
        }
        $conn->wait(undef, 0.2);
        seek $log, 0, 1;    # the end of the file is not the end for ever
    }
    return;
}

Plack::App::EventSource->new(
    retry      => 1000,
    handler_cb => sub {
        my ($conn) = @_;
        my ($from) = ($conn->last_event_id // '') =~ /\A([0-9]{1,15})\z/;
        $from = -s $FILE if !defined $from || $from > (-s $FILE || 0);
        $conn->spawn(sub { tail($conn, $from || 0) }) or $conn->push({event => 'failed', data => 'too many clients'});
    },
)->to_app;
