# The packages for Debian: built without network, checked by lintian, the same bytes in two builds. In a Debian without compiler
# and cargo they are installed, used, upgraded below open streams, and removed.
#
# EVENTSOURCE_XS_PROFILE=release builds them optimised and runs `make test` in the build, as script/package does for a release.

use lib 't/lib';
use Testing        qw(Chroot);
use Digest::SHA    ();
use File::Basename qw(basename);
use File::Copy     qw(copy);
use Testing::Client;
use Testing::Developer qw(needs_command);
use Testing::Port;
use Testing::Program;
use Testing::SourceTree qw(slurp write_file);

my @PACKAGES = qw(eventsource-hub libeventsource-xs-perl);
my $BUILT    = 1200;                                         # seconds
my $PROGRAM  = '/usr/bin/eventsource-hub';

needs_command($_) for qw(cargo dh dpkg-buildpackage dpkg-deb lintian);

my $profile     = $ENV{EVENTSOURCE_XS_PROFILE} || 'demo';
my %environment = (
    DEB_BUILD_OPTIONS      => $profile eq 'release' ? '' : 'nocheck',
    EVENTSOURCE_XS_PROFILE => $profile,
    HOME                   => $ENV{HOME},
);
my $folder = new_folder;

sub checksum { return Digest::SHA->new(256)->addfile(shift)->hexdigest }

# Runs a command beside the test, and returns a function that waits for it and returns its output.
sub beside {
    my @command = @_;
    my $program = Testing::Program->new($command[0])->run(\%environment, @command);
    return sub {
        ok wait_until($BUILT, sub { $program->has_ended }), "$command[0] ends";
        is $program->{status}, 0, "$command[0] succeeds" or diag substr $program->log, -3000;
        return $program->log;
    };
}

my $source = beside('script/package', 'source', '--in', "$folder/first");
my $debian = Testing::Chroot->start(qw(curl starman systemd-standalone-sysusers systemd-standalone-tmpfiles));
my ($dsc)  = $source->() =~ /^(\S+\.dsc)$/m or BAIL_OUT('no source package');

# Builds the packages in a network namespace that has no network, and returns their paths by name.
sub build {
    my $in = shift;
    beside('unshare', '--net', 'script/package', 'deb', '--in', $in, '--from', $dsc)->();
    return {map { ((basename($_) =~ /\A([^_]+)/)[0] => $_) } glob "$in/*.deb"};
}

my $first = build("$folder/first");
ok $first->{$_}, "there is a package $_" or BAIL_OUT('no packages') for @PACKAGES;
my %checksum = map { ($_ => checksum($first->{$_})) } sort keys %$first;

# A copy, because the second build replaces the files.
is system('cp', '-r', "$folder/first", "$folder/checked"), 0, 'the packages are copied';
my $lintian = beside('lintian', qw(--allow-root --fail-on), 'error,warning', glob "$folder/checked/*.changes");

# The dependencies come before the first list of files, so that a purge of the packages leaves that list.
subtest 'the packages are installed without compiler and cargo' => sub {
    isnt + ($debian->run('which', $_))[0], 0, "there is no $_" for qw(cc cargo gcc rustc);
    $debian->must('apt-get', 'update');
    for my $package (@PACKAGES) {
        my $needs = qx{dpkg-deb -f $first->{$package} Depends};
        chomp $needs;
        $debian->must('apt-get', 'satisfy', '-y', '--no-install-recommends', $needs);
        copy($first->{$package}, $debian->folder . "/$package.deb") or die "$package: $!";
    }
};

# All paths, with their owners and modes. dpkg's and apt's own files, and the backups of passwd, are left out.
sub paths {
    my $own =
        '/(?:proc|sys|dev|tmp)(?:/|$)|/var/(?:cache|log)/|/var/lib/(?:dpkg|apt)/|/etc/(?:passwd|group|shadow|gshadow)-\s';
    my @paths = grep { !m{\A(?:$own)} } split /\n/, $debian->must('find', '/', '-xdev', '-printf', '%p %u %m\n');
    return [sort grep { !m{\A/\S+[.]deb\s} } @paths];
}

my $paths_before = paths();
my $users_before = $debian->must('cat', '/etc/passwd', '/etc/group');
$debian->must('apt-get', 'install', '-y', '--no-install-recommends', map { "/$_.deb" } @PACKAGES);

subtest 'what the packages have' => sub {
    like $debian->must('eventsource',     '--version'), qr/[0-9]+[.][0-9]+/, 'the command runs';
    like $debian->must('eventsource-hub', '--version'), qr/[0-9]+[.][0-9]+/, 'the program runs';
    like $debian->must(qw(perl -MEventSource::Hub::Process -e), 'print EventSource::Hub::Process->program'),
        qr/eventsource-hub\z/, 'the library finds it';
    like $debian->must('stat', '-c', '%U %a', '/run/eventsource-hub'), qr/\Aroot 755$/,
        'the folder of the sockets is root\'s';
    $debian->must('id', 'eventsource-hub');
    my $documents = $debian->folder . '/usr/share/doc/libeventsource-xs-perl';
    like slurp("$documents/copyright"),                      qr{vendor/bytes-}, 'the licences of the crates';
    like qx{gzip -dc $documents/eventsource-xs.cdx.json.gz}, qr/"CycloneDX"/,   'what is inside';

    for my $unit (qw(eventsource-hub@.service eventsource-hub@.socket eventsource-hub-http@.socket)) {
        my $text = slurp($debian->folder . "/lib/systemd/system/$unit");
        like $text,   qr/eventsource-hub/,     "$unit: it is for the hub";
        unlike $text, qr{/usr/local|www-data}, "$unit: with the paths and the user of the package";
    }
};

subtest 'the test of the package' => sub {
    my $to = $debian->folder . '/tmp/tests';
    is system('cp', '-r', 'debian/tests', $to), 0, 'it is copied';
    my ($status, $said) =
        $debian->run('setpriv', '--reuid=www-data', '--regid=www-data', '--clear-groups', "/tmp/tests/stream");
    is $status, 0, 'it passes' or diag $said;
    like $said, qr/^the stream has the event$/m, 'to its end';
};

# Two hubs with an open stream each: one that a worker has started, and one that is a service, as its unit runs it.
my @AS      = map { [qw(setpriv --clear-groups), "--reuid=$_", "--regid=$_"] } 'www-data', 'eventsource-hub';
my $SERVICE = '/run/eventsource-hub/shop/hub.sock';
my (%hub, @programs);
$debian->must('install', '-d', '-o', 'www-data',        '-m', '700', '/tmp/sockets');
$debian->must('install', '-d', '-o', 'eventsource-hub', '-m', '700', '/run/eventsource-hub/shop');
push @programs,
    $debian->program({}, @{$AS[1]}, $PROGRAM, 'run', '--name', 'shop', '--socket', $SERVICE, '--idle-exit', 600);
ok wait_until($DEADLINE, sub { -S $debian->folder . $SERVICE }), 'the service listens' or diag $programs[0]->log;

for (
    ['worker',  0, {HUB => 'news', EVENTSOURCE_RUNTIME_DIR => '/tmp/sockets'}, []],
    ['service', 1, {HUB => 'shop', HUB_SOCKET              => $SERVICE},       ['--socket', $SERVICE]]
) {
    my ($name, $user, $settings, $socket) = @$_;
    my $port    = Testing::Port->new;
    my @starman = ('starman', '--workers', 2, '--listen', '127.0.0.1:' . $port->number, '/tmp/tests/app.psgi');
    push @programs, $debian->program($settings, @{$AS[$user]}, @starman);
    my $client;
    eventually_ok $DEADLINE, "$name: Starman answers" => sub {
        $client = eval { Testing::Client->get($port->number, '/events') }
    } or diag $programs[-1]->log;
    my @environment = map { "$_=$settings->{$_}" } sort keys %$settings;
    $hub{$name} = {
        client  => $client,
        command => [@{$AS[$user]}, 'env', @environment, 'eventsource'],
        hub     => ['--hub', $settings->{HUB}, @$socket],
        port    => $port,
    };
}

sub published_ok {
    my ($name, $text) = @_;
    my $hub = $hub{$name};
    my ($status, $said) = $debian->run(@{$hub->{command}}, 'publish', @{$hub->{hub}}, 'news', $text);
    is $status, 0, "$name: the command publishes" or diag $said;
    ok $hub->{client}->read_until(qr/^data: \Q$text\E$/m), "$name: the stream has '$text'";
    return;
}

sub process_of {
    my $hub   = $hub{+shift};
    my $stats = $debian->must(@{$hub->{command}}, 'stats', @{$hub->{hub}}, '--json');
    return $stats =~ /"pid" *: *([0-9]+)/ ? $1 : undef;
}

for my $name (sort keys %hub) {
    ok $hub{$name}{client}->read_until(qr/\n\n/), "$name: the stream begins";
    published_ok($name, 'before');
    $hub{$name}{pid} = process_of($name);
}

# The same content with a higher number: what an upgrade does is a matter of dpkg and of the maintainer scripts.
subtest 'an upgrade below open streams' => sub {
    for my $package (@PACKAGES) {
        my $content = "$folder/content";
        is system('dpkg-deb', '-R', $first->{$package}, $content), 0, "$package is unpacked";
        my $control = slurp("$content/DEBIAN/control") =~ s/^(Version: .+)$/$1+next/mr =~ s/(\(= [^)]+)\)/$1+next)/gr;
        write_file("$content/DEBIAN/control", $control);
        is system('dpkg-deb', '--root-owner-group', '-b', $content, $debian->folder . "/$package.deb"), 0,
            'and packed again';
        system 'rm', '-rf', $content;
    }
    my $said = $debian->must('apt-get', 'install', '-y', '--no-install-recommends', map { "/$_.deb" } @PACKAGES);
    unlike $said, qr/continues as the old program/,                         'each process continues as the new program';
    like $debian->must('dpkg-query', '-W', 'eventsource-hub'), qr/[+]next/, 'the higher version is there';
    for my $name (sort keys %hub) {
        is process_of($name), $hub{$name}{pid}, "$name: the hub process has the same id";
        my $file = $debian->must('readlink', "/proc/$hub{$name}{pid}/exe");
        is $file, "$PROGRAM\n", "$name: and runs the new program";
        ok !$hub{$name}{client}->ended, "$name: the stream is open";
        published_ok($name, 'after');
    }
};

subtest 'a removal ends the hubs, and a purge leaves nothing' => sub {
    $_->stop for reverse @programs[1 .. $#programs];
    $debian->must('apt-get', 'purge', '-y', @PACKAGES);
    for my $name (sort keys %hub) {
        $hub{$name}{client}->read_all;
        ok $hub{$name}{client}->ended, "$name: its stream has ended";
        isnt + ($debian->run('test', '-e', "/proc/$hub{$name}{pid}/exe"))[0], 0, "$name: its hub process has ended";
    }
    $debian->must('rm', '-rf', '/tmp/tests', '/tmp/sockets');
    is_deeply paths(), $paths_before, 'no file and no folder is left';
    is $debian->must('cat', '/etc/passwd', '/etc/group'), $users_before, 'nor a user';
};

subtest 'the same bytes in a second build' => sub {
    plan skip_all => 'script/check --short builds once' if $ENV{EVENTSOURCE_XS_SHORT};
    my $second = build("$folder/first");
    is checksum($second->{$_}), $checksum{$_}, $_ for sort keys %checksum;
};

subtest 'lintian has no error and no warning' => sub {
    unlike $lintian->(), qr/^[EW]:/m, 'it prints none';
};

done_testing;
