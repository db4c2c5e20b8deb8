# A client resets its connection after its request has been read and before its stream begins, or while its handler runs.
# Neither is an error of the application, and nothing stays open.

use lib 't/lib';
use Testing;
use Testing::AttackedServer qw(on_each_server);

my @STREAMS = qw(/native /must-be-native /writer /hub /hub-on-writer /follow /follow-on-writer /conditional);

sub resets {
    my ($server, $path) = @_;
    for my $number (1 .. 3) {
        $server->while_handled(sub { $server->get("$path?tag=$path$number&$_[0]") }, sub { $_[0]->leave(reset => 1) });
    }
    $server->is_sound_ok("$path, reset") or return;
    return is join('', map { $server->reported("$path$_") } 1 .. 3), '', "$path, reset: the handler does not run";
}

# A handler that ends its stream itself, which has never begun for the client.
sub resets_before_the_end {
    my ($server, $path) = @_;
    for my $number (1 .. 3) {
        my $request = sub { $server->get("$path?tag=ends$number&closes=1&" . ($_[0] =~ s/meet/meet_in_handler/r)) };
        $server->while_handled($request, sub { $_[0]->leave(reset => 1) });
    }
    return $server->is_sound_ok("$path, reset before the handler ends the stream");
}

# Under Feersum the head of the response is not out then, and never will be.
sub resets_in_handler {
    my ($server, $path) = @_;
    my @tags = map { "$path-in-handler$_" } 1 .. 3;
    for my $tag (@tags) {
        my $request = sub { $server->get("$path?tag=$tag&" . ($_[0] =~ s/meet/meet_in_handler/r)) };
        $server->while_handled($request, sub { $_[0]->leave(reset => 1) });
    }
    $server->is_sound_ok("$path, reset while the handler runs") or return;

    # A worker that has just learned of the end calls the application with its next request.
    my @ends;
    wait_until $DEADLINE, sub {
        @ends = map { $server->reported($_) =~ /^closed: (.*)$/m } @tags;
        return 1 if @ends == @tags;
        $server->states;
        return;
    };
    return is_deeply \@ends, [('client') x 3], 'each stream ends with the reason client';
}

on_each_server sub {
    my $server = shift;
    $server->prepare(@STREAMS);
    $server->case("a client of $_ resets",                        sub { resets($server, $_) }) for @STREAMS;
    $server->case("a client of $_ resets while its handler runs", sub { resets_in_handler($server, $_) })
        for qw(/native /must-be-native /writer);
    $server->case('a client resets before the handler ends the stream',
        sub { resets_before_the_end($server, '/native') });
    unlike $server->log, qr/cannot be native|uninitialized|Can't call/, 'the server reports no error';
};

done_testing;
