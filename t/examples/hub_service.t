# The units of EventSource::Services for the hub process: systemd accepts them. Their commands serve a hub on a socket
# that was listening before, and continue as a program that was installed meanwhile.

use lib 't/lib';
use Testing qw(named_hubs);
use EventSource::Hub;
use Fcntl      qw(F_SETFD);
use File::Copy qw(copy);
use File::Path qw(make_path);
use IO::Socket::UNIX;
use POSIX              ();
use Testing::Developer qw(has_command);
use Testing::Program;
use Testing::SourceTree qw(slurp write_file);

my $UNITS = 'examples/deployment/systemd';
my $PATH  = '/usr/local/bin/eventsource-hub';

my $program   = EventSource::Hub::Process->program;
my $folder    = new_folder;
my $installed = "$folder/eventsource-hub";

# As `make install` does: the file that a process runs stays, under no name.
sub install {
    unlink $installed;
    copy($program, $installed) or die "$installed: $!";
    chmod 0755, $installed;
    return;
}

# The words of a command of a unit, for the hub `shop` in the folder of the test.
sub command {
    my ($unit, $name) = @_;
    my ($line) = slurp("$UNITS/$unit/eventsource-hub\@.service") =~ /^\Q$name\E=(.+)$/m;
    my @words  = split ' ', $line;
    s/%i/shop/g                                     for @words;
    s{%t/eventsource|/run/eventsource-hub}{$folder} for @words;
    s{\A\Q$PATH\E\z}{$installed}                    for @words;
    return @words;
}

install();

for my $unit ('system', 'user') {
    subtest "systemd accepts the units of a $unit" => sub {
        plan skip_all => 'there is no systemd-analyze here' if !has_command('systemd-analyze');
        my $copies = new_folder;
        for my $kind ('socket', 'service') {
            write_file("$copies/eventsource-hub\@.$kind",
                slurp("$UNITS/$unit/eventsource-hub\@.$kind") =~ s/\Q$PATH\E/$installed/gr);
        }
        local $ENV{XDG_RUNTIME_DIR} = "$folder";
        my $said =
            qx{systemd-analyze --$unit verify $copies/eventsource-hub\@.socket $copies/eventsource-hub\@.service 2>&1};
        is "$?: $said", '0: ', 'they are verified without a word';
    };

    subtest "the commands of the units of a $unit" => sub {
        my ($socket) = grep { m{\A/.*[.]sock\z} } command($unit, 'ExecStart');
        make_path($socket =~ s{/[^/]+\z}{}r);
        my $listener = IO::Socket::UNIX->new(Local => $socket, Listen => 10) or die "$socket: $!";
        my $service  = Testing::Program->new('eventsource-hub');

        # sd_listen_fds(3): the socket is descriptor 3, and LISTEN_PID the process that is to have it.
        my $start =
            'use POSIX; POSIX::dup2(shift, 3) // die $!; $ENV{LISTEN_PID} = $$; $ENV{LISTEN_FDS} = 1; exec @ARGV';
        fcntl $listener, F_SETFD, 0;
        $service->run({}, $^X, '-e', $start, fileno $listener, command($unit, 'ExecStart'));
        close $listener;
        my $hub =
            EventSource::Hub->new(name => 'shop', socket => $socket, autostart => 0, publish_timeout => $DEADLINE);
        my $first = $hub->publish(news => 'before');
        my $pid   = $service->pid;
        is readlink "/proc/$pid/exe", $installed, 'the process is the one that was started';

        install();
        like readlink "/proc/$pid/exe", qr/ \(deleted\)\z/, 'another program has been installed';
        is system(command($unit, 'ExecReload')), 0,          'a reload succeeds';
        is readlink "/proc/$pid/exe",            $installed, 'the same process is the new program';
        my $second = $hub->publish(news => 'after');
        s/-.*// for my @epochs = ($first, $second);
        is $epochs[0], $epochs[1], 'the worker continues with the same hub';
        like $second, qr/-2\z/, 'its sequence continues';

        my $start_of_broken = "$folder/broken";
        write_file($start_of_broken, "#!/bin/sh\nexit 1\n");
        chmod 0755, $start_of_broken;
        my @reload = (command($unit, 'ExecReload'), '--program', $start_of_broken);
        my $said   = qx{@reload 2>&1};
        isnt $?, 0, 'a reload with a program that cannot continue fails';
        like $said, qr/\Q$start_of_broken\E is not a hub program that can continue here/, 'and says why';
        like $hub->publish(news => 'as before'), qr/-3\z/,                                'the hub serves as before';

        kill TERM => $pid;
        ok wait_until($DEADLINE, sub { $service->has_ended }), 'the service stops';
        is $service->stop, 0, 'with success';
        ok -S $socket, 'and leaves its socket to systemd';
        unlink $socket;
    };
}

done_testing;
