# The statements of EventSource::Deployment on outboxes: the unit's command runs, the rights that it grants are enough, and a
# database that notifies nobody is asked.

use lib 't/lib';
use Testing;
use Testing::CommandLine;
use Testing::Database;
use Testing::Developer qw(has_command);
use Testing::Outbox;
use Testing::SourceTree qw(slurp write_file);

my $UNIT = 'examples/deployment/systemd/system/eventsource-outbox@.service';

my ($section) = slurp('perl/EventSource/Deployment.pod') =~ /^=head1 OUTBOX\n(.*?)^=head1/ms;
my %database = map { ($_->name => $_) } Testing::Database->classes;

# The statements of the manual that begin with a word, as they are for the database of the test.
sub statements {
    my ($word, $from) = @_;
    my ($block) = $section =~ /In \Q$from\E:\n\n((?: {4}.*\n)+)/m;
    return map { s/\bshop[.]//r =~ s/\@localhost//r } ($block // $section) =~ /^ {4}($word .*?);$/mg;
}

subtest 'the unit' => sub {
    $database{SQLite}->require_or_skip_all;
    my $unit   = slurp($UNIT);
    my $folder = new_folder;
    my $copy = write_file("$folder/eventsource-outbox\@.service", $unit =~ s{/usr/local/bin/eventsource}{/bin/true}gr);
SKIP: {
        skip 'there is no systemd-analyze here', 1 if !has_command('systemd-analyze');
        my $said = qx{systemd-analyze --system verify $copy 2>&1};
        is "$?: $said", '0: ', 'is verified without a word';
    }
    my $shell    = Testing::CommandLine->new;
    my $outbox   = Testing::Outbox->new($database{SQLite}->start, $shell, hub => 'shop');
    my $socket   = $shell->folder . '/shop.sock';
    my $given    = '--dsn ' . $outbox->database->dsn;
    my ($words)  = $unit =~ /^ExecStart=\S+ ((?:.*\\\n)*.*)$/m;
    my %variable = (OUTBOX => $given, CREDENTIALS_DIRECTORY => "$folder");
    write_file("$folder/password", '');

    for ($words) {
        s/\\\n//g;
        s{\S+[.]sock}{$socket};
        s{%i}{shop}g;
        s/\$\{?(OUTBOX|CREDENTIALS_DIRECTORY)\}?/$variable{$1}/g;
    }
    my $service = $shell->start(split ' ', $words);
    $outbox->outbox->publish($outbox->database->connect, news => 'hello');
    is_deeply [map { $_->{data} } $outbox->events(1, 'news')], ['hello'], 'its command runs' or diag $service->log;
    is $service->stop, 0, 'and ends at a signal';
};

for my $name ('PostgreSQL', 'MariaDB') {
    subtest "rights in $name" => sub {
        $database{$name}->require_or_skip_all;
        my $shell  = Testing::CommandLine->new;
        my $outbox = Testing::Outbox->new($database{$name}->start, $shell);
        my $dbh    = $outbox->database->connect;
        my @grants = statements('GRANT', $name eq 'PostgreSQL' ? 'PostgreSQL' : 'MariaDB and MySQL');
        is scalar @grants, $name eq 'PostgreSQL' ? 2 : 3, 'the manual grants rights';
        $outbox->database->create_user($_) for 'shop', 'follower';
        $dbh->do($_) for @grants;
        my $user = $outbox->database->can('connect_as');
        $outbox->outbox->publish($outbox->database->$user('shop'), news => 'hello');
        my $password = write_file($shell->folder . '/password', "follower\n");
        my $follower = $shell->start(qw(outbox --hub test --user follower --password-from),
            $password, '--dsn', $outbox->database->dsn);
        is_deeply [map { $_->{data} } $outbox->events(1, 'news')], ['hello'], 'they are enough for both'
            or diag $follower->log;
        ok wait_until($DEADLINE, sub { !$outbox->stats->{waiting} }), 'and to delete the row';

        if ($name eq 'PostgreSQL') {
            my @statements = $section =~ /^ {4}(ALTER TABLE .*?);$/mg;
            is scalar @statements, 1, 'the manual disables the trigger';
            $dbh->do($_) for @statements;
            $outbox->outbox->publish($outbox->database->$user('shop'), news => 'again');
            is_deeply [map { $_->{data} } $outbox->events(2, 'news')], ['hello', 'again'], 'the follower asks';
        }
    };
}

subtest 'the manual lists the lines of a follower' => sub {
    $database{SQLite}->require_or_skip_all;
    my ($listed) = slurp('perl/EventSource/Troubleshooting.pod') =~ /^=head1 AN EVENT OF AN OUTBOX.*?\n(.*?)^=head1/ms;
    my $shell    = Testing::CommandLine->new;
    my $outbox   = Testing::Outbox->new($database{SQLite}->start, $shell);
    my $dbh      = $outbox->database->connect;
    my $says     = sub {
        my ($follower, $line) = @_;
        my $pattern = join '.*', map { quotemeta } split /[.]{3}|\b17\b/, $line;
        ok wait_until($DEADLINE, sub { $follower->log =~ /^eventsource outbox: eventsource_outbox: $pattern$/m }), $line
            or diag $follower->log;
        return like $listed, qr/^=item .*C<\Q$line\E>/m, 'it is listed';
    };
    my $first = $outbox->follow;
    $says->($first, 'this process follows the outbox');
    my $second = $outbox->follow;
    $says->($second, 'another process follows this outbox; this one takes over when that ends');
    $dbh->do(q{INSERT INTO eventsource_outbox (channel, data, event_id) VALUES ('news', 'x', 'ends in a blank ')});
    $says->($first, 'row 17 is a dead letter: ...; mend it, and "eventsource outbox --retry" publishes it');
    $dbh->do('ALTER TABLE eventsource_outbox RENAME TO away');
    $says->($first, 'the database takes nothing: ...; trying again');
    $dbh->do('ALTER TABLE away RENAME TO eventsource_outbox');
    $says->($first, 'the database is reached again');
    $says->($first, 'the number of dead letters is 17; "eventsource outbox --list" shows them');
    $shell->run(qw(hub stop test));
    $outbox->outbox->publish($dbh, news => 'hello');
    $_->stop for $second;
    $says->($first, 'the hub takes nothing: ...; trying again');
    $outbox->hub->publish(news => 'the process runs again');
    $says->($first, 'the hub is reached again');
};

done_testing;
