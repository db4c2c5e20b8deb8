# A program that takes no events slows the server down, and one that is not interested any more cuts the connection. With every
# library.

use lib 't/lib';
use Testing;
use EventSource::Client;
use IO::Select             ();
use Testing::HostileServer qw(hostile_server);
use Testing::ReadingClient;
use Testing::SideBySide qw(run_each);
use Testing::SourceTree qw(write_file);

my $STREAM = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
my $BYTES  = 200_000_000;
my $EVENTS = 30_000;       # that a client reads; a server that is not slowed down sends hundred times as many
my $folder = new_folder;

sub note_in {
    my ($name, $text) = @_;
    write_file("$folder/$name.new", $text);
    rename "$folder/$name.new", "$folder/$name" or die "$name: $!";
    return;
}

sub noted {
    my $name = shift;
    open my $file, '<', "$folder/$name" or return;
    return scalar <$file>;
}

# A server that numbers its events. It notes how much it has sent when the client does not read, and when the client has left.
my $server = hostile_server sub {
    my ($client, $head) = @_;
    my ($name) = $head =~ m{\AGET /(\w+)};
    local $SIG{PIPE} = 'IGNORE';
    $client->blocking(0);
    my ($buffer, $sent, $number) = ($STREAM, 0, 0);
    while ($sent < $BYTES) {
        while (length $buffer < 65_536) {
            my $event = 'data: ' . ++$number . "\n\n";
            $buffer .= sprintf "%x\r\n%s\r\n", length $event, $event;
        }
        note_in("$name.stalled", $sent) if !IO::Select->new($client)->can_write(0.5);
        IO::Select->new($client)->can_write;
        my $count = syswrite $client, $buffer;
        if (!defined $count) {
            next if $!{EAGAIN};
            last;
        }
        substr $buffer, 0, $count, '';
        $sent += $count;
    }
    note_in("$name.left", $sent);
};

sub name_of { return $_[0] =~ s/\W//gr }

sub slows_down {
    my $way  = shift;
    my $name = name_of($way) . 'slow';
    my (@numbers, $is_stalled, $client);
    my $look = sub { $is_stalled ||= noted("$name.stalled") };
    if ($way eq 'next') {
        $client  = EventSource::Client->new(url => $server->url("/$name"));
        @numbers = $client->next->{data};
        ok wait_until($look), 'it cannot send' or return;
        push @numbers, $client->next->{data} for 2 .. $EVENTS;
    }
    else {
        my %option = (
            url      => $server->url("/$name"),
            on_event => sub {
                ($client, my $event) = @_;
                push @numbers, $event->{data};
                $client->pause if @numbers == 1;
                $client->close if @numbers == $EVENTS;
            }
        );
        my $seen = Testing::ReadingClient->read(
            $way,
            \%option,
            undef,
            sub {
                return if @numbers != 1 || !$look->();
                is scalar @numbers, 1, 'a client that is paused delivers nothing';
                $client->resume;
            }
        );
    }
    cmp_ok $is_stalled || $BYTES, '<', 30_000_000, 'it can send only what fits into buffers';
    is_deeply \@numbers, [1 .. $EVENTS], 'later all events come, in order';
    $client->close;
    ok wait_until(sub { noted("$name.left") }), 'a client that is closed has cut its connection';
    cmp_ok noted("$name.left") || $BYTES, '<', $BYTES / 2, 'in the middle of the stream';
    return;
}

sub polls {
    my @numbers;
    my $client = EventSource::Client->new(url => $server->url('/polled'));
    wait_until sub {
        push @numbers, map { $_->{data} } $client->next(0) || ();
        @numbers >= 50;
    };
    is_deeply \@numbers, [1 .. 50], 'a program may ask again and again without waiting';
    $client->close;
    ok !defined $client->next(0), 'after the end there is nothing';
    return;
}

sub is_cut_by_its_end {
    my $way    = shift;
    my $name   = name_of($way) . 'dropped';
    my $has    = 0;
    my %option = $way eq 'next' ? () : (via => $way, on_event => sub { $has = 1 });
    my $client = EventSource::Client->new(url => $server->url("/$name"), %option);
    if ($way eq 'next') { $has = $client->next }
    else {
        Testing::ReadingClient->run($way, sub { $has });
    }
    undef $client;
    ok wait_until(sub { noted("$name.left") }), 'a client without a reference has cut its connection';
    return;
}

run_each [Testing::ReadingClient->ways] => sub {
    slows_down(@_);
    polls() if $_[0] eq 'next';
    is_cut_by_its_end(@_);
};

done_testing;
