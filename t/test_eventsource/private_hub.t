# Private hubs: applications with a named hub are redirected, tests that run at the same time do not meet, and nothing is left
# when a test ends, dies or is killed.

use lib 't/lib';
use Testing    qw(named_hubs);
use File::Temp ();
use IPC::Open3 qw(open3);
use Test::EventSource;
use Testing::Developer qw(has_module);
use Testing::Errors    qw(error_ok);
use Testing::Process   qw(hubs_at);

my $hub    = Test::EventSource->private_hub(name => 'shop', keep_history => {events => 10});
my $folder = $ENV{EVENTSOURCE_RUNTIME_DIR};

# Runs a test of its own. Returns its process and what it prints.
sub start_test {
    my $code = shift;
    my @perl = ($^X, (map { "-I$_" } @INC), '-MTest::EventSource', '-MTest::More');
    my $pid  = open3(my $in, my $out, undef, @perl, '-e', $code);
    return ($pid, $out, $in);
}

my $APP = <<'CODE';
use strict;
use warnings;
use EventSource::Hub;
my $hub = EventSource::Hub->new(name => 'shop', keep_history => {events => 10});
$hub->to_app(channels => sub { 'news' });
CODE

subtest 'an application that names its hub is redirected' => sub {
    my $file = File::Temp->new(SUFFIX => '.psgi');
    print {$file} $APP;
    close $file;
    my @places = ['in process'];
    push @places, ['Starman', workers => 2] if has_module('Starman::Server');
    push @places, ['Twiggy']                if has_module('Twiggy::Server');
    for my $place (@places) {
        my ($server, @options) = @$place;
        @options = (server => $server, @options) if $server ne 'in process';
        my $es     = Test::EventSource->new(app => $file->filename, @options);
        my $stream = $es->get('/');
        ok $es->wait_for(sub { $hub->subscribers('news') == 1 }), "$server: its streams are in the private hub";
        my $id = $hub->publish(news => "for $server");
        $stream->like_event({data => "for $server", id => $id}, "$server: and receive what the test publishes");
        $stream->disconnect if $stream->can('disconnect');
        undef $_ for $stream, $es;
        ok wait_until($DEADLINE, sub { $hub->subscribers('news') == 0 }), "$server: the stream ends";
    }
    is scalar(() = hubs_at($folder)), 1, 'there is one process';
};

subtest 'tests do not meet' => sub {
    my $other = q{
        my $hub = Test::EventSource->private_hub(name => 'shop');
        $| = 1;
        $hub->publish(news => 'x');
        print join(' ', $ENV{EVENTSOURCE_RUNTIME_DIR}, $hub->stats->{published}, $hub->epoch), "\n";
        my $line = <STDIN>;
        die "as planned\n" if $line =~ /die/;
        kill KILL => $$ if $line =~ /kill/;
        POSIX::_exit(0) if $line =~ /exit/;
    };
    for my $how (qw(end die kill exit)) {
        my ($pid, $out, $in) = start_test($other);
        my ($place, $published, $epoch) = split ' ', readline($out) // '';
        isnt $place,                     $folder,     "$how: the test has a folder of its own";
        is $published,                   1,           "$how: and a hub of its own";
        isnt $epoch,                     $hub->epoch, "$how: with an epoch of its own";
        is scalar(() = hubs_at($place)), 1,           "$how: which has a process";
        my ($root) = $place =~ m{\A(.*)/};
        ok -S "$place/shop.sock" && -e "$place/shop.sock.lock", "$how: a socket and a lock";
        print {$in} "$how\n";
        close $in;
        waitpid $pid, 0;
        ok wait_until($DEADLINE, sub { !-e $root && !hubs_at($root) }), "$how: nothing of them is left";
        ok !hubs_at($place), "$how: no hub process either" if $how =~ /end|die/;
    }
};

subtest 'a hub does not come back after its test' => sub {
    my ($pid, $out, $in) = start_test(
        q{
        my $hub = Test::EventSource->private_hub;
        $hub->publish(news => 'x');
        my $child = fork;
        if (!$child) {
            my $path = $ENV{EVENTSOURCE_RUNTIME_DIR};
            $| = 1;
            print "$path\n";
            select undef, undef, undef, 0.01 while -e $path;
            my $is_published = eval { $hub->publish(news => 'late') };
            print $is_published ? "published\n" : "refused: $@";
            POSIX::_exit(0);
        }
    }
    );
    my ($root) = (readline($out) // '') =~ m{\A(.*)/};
    like readline($out), qr/\Arefused: .*EVENTSOURCE_RUNTIME_DIR|\Arefused: .*cannot/,
        'a process that outlives the test cannot start it again';
    waitpid $pid, 0;
    ok wait_until($DEADLINE, sub { !-e $root && !hubs_at($root) }), 'nothing is left';
};

subtest 'the store of an application is not touched, unless the test names one' => sub {
    my $stores = File::Temp->newdir;
    my %store  = (store => {file => "$stores/application.db"});
    my $stored = EventSource::Hub->new(name => 'stored', idle_exit => 1, %store);
    $stored->publish(news => 'test');
    is $stored->stats->{store}{kind}, 'memory', 'the hub keeps its events in memory';
    ok !-e $store{store}{file}, 'there is no file';
    local $ENV{EVENTSOURCE_STORE} = $ENV{EVENTSOURCE_STORE};
    my $named = Test::EventSource->private_hub(name => 'other', %store);
    $named->publish(news => 'test');
    is $named->stats->{store}{kind}, 'file', 'a store of private_hub is one';
};

subtest 'mistakes' => sub {
    error_ok('a socket',           invalid => 'socket', sub { Test::EventSource->private_hub(socket => '/tmp/x') });
    error_ok('an unknown setting', invalid => 'nmae',   sub { Test::EventSource->private_hub(nmae   => 'x') });
    eval { Test::EventSource->private_hub(nmae => 'x') };
    is "$@" =~ /(\S+) line/ ? $1 : '', __FILE__, 'the exception reports the line of the test';
    for my $case (['a folder of others', '/tmp'], ['a relative path', 'here'], ['no folder', "$folder/none"]) {
        my ($what, $path) = @$case;
        local $ENV{EVENTSOURCE_RUNTIME_DIR} = $path;
        error_ok($what, unavailable => undef, sub { EventSource::Hub->new(name => 'x')->epoch });
    }
};

subtest 'end' => sub {
    EventSource::XS::Test::PrivateHubs->end;
    ok !-e $folder, 'the folder is removed';
    is_deeply [hubs_at($folder)], [], 'there is no process';
    is $ENV{EVENTSOURCE_RUNTIME_DIR}, undef, 'the variable is removed';
    my $next = Test::EventSource->private_hub;
    isnt $ENV{EVENTSOURCE_RUNTIME_DIR}, $folder, 'the next private hub has another folder';
    like $next->publish(news => 'x'), qr/-1\z/, 'and works';
};

done_testing;
