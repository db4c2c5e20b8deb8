# How hubs reach Redis: the prefix of keys, passwords, which no message shows, users, TLS and Sentinels.

use lib 't/lib';
use Testing qw(Redis);
use Testing::Sentinel;
use Testing::StoredHub;
use Testing::SourceTree qw(slurp);
use Testing::Subscriber;

sub code_of {
    my $call = shift;
    return eval { $call->(); 1 } ? 'no exception' : ref $@ ? $@->code : $@;
}

subtest 'keys begin with the prefix, and no message shows the password' => sub {
    my $redis  = Testing::Redis->start(password => 'geheim');
    my $stored = Testing::StoredHub->start({redis => $redis->url, prefix => 'a:b'}, publish_timeout => 2);
    ok $stored->hub->publish(news => 'before'), 'an event is published';
    is_deeply [grep { !/\Aa:b:\{shop\}/ } @{$redis->command('KEYS', '*')}], [], 'all keys begin with the prefix';
    ok defined $stored->store->{lag}, 'the health has the lag';
    unlike $stored->store->{place}, qr/geheim/, 'no password in the health';
    $redis->kill;
    ok wait_until($DEADLINE, sub { !$stored->store->{up} }), 'the store is down';
    ok length $stored->store->{last_error},                  'with an error';
    unlike $stored->store->{last_error}, qr/geheim/, 'without the password';
    is code_of(sub { $stored->hub->publish(news => 'meanwhile') }), 'unavailable',
        'publish says that nothing was published';
    like $@,   qr/Redis at 127[.]0[.]0[.]1:\S+ cannot be reached/, 'and why';
    unlike $@, qr/geheim/,                                         'without the password';
};

subtest 'the user that the manual shows' => sub {
    my ($rights) = slurp('perl/EventSource/Deployment.pod') =~ /^ {4}ACL SETUSER shop on >PASSWORD (.+)$/m;
    ok $rights, 'it shows one' or return;
    my $redis  = Testing::Redis->start(acl => ["user shop on >pw $rights", 'user default off']);
    my $url    = $redis->url(user => 'shop', password => 'pw');
    my $stored = Testing::StoredHub->start({redis => $url});
    $stored->hub->publish(news => $_) for 1 .. 3;
    is_deeply [@{$stored->store}{qw(up last_error)}], [1, undef], 'it may do all that a hub does';
    $redis->command('DEL', @{$redis->command('KEYS', '*')});
    ok wait_until($DEADLINE, sub { $stored->store->{epoch_changes} }), 'a new epoch, too';
    my $wrong =
        Testing::StoredHub->start({redis => $redis->url(user => 'shop', password => 'x')}, publish_timeout => 1);
    is code_of(sub { $wrong->hub->publish(news => 1) }), 'unavailable', 'a wrong password is none';
};

subtest 'TLS' => sub {
    Testing::Redis->require_tls_or_skip_all;
    my $redis  = Testing::Redis->start(tls => 'clients');
    my %files  = (ca => $redis->ca, cert => $redis->cert, key => $redis->key);
    my $stored = Testing::StoredHub->start({redis => $redis->url, %files});
    ok $stored->hub->publish(news => 'one'), 'with certificates of both sides';
    like $stored->store->{place}, qr{\Arediss://127}, 'the health shows it';
    my $other = Testing::StoredHub->start({redis => $redis->url}, publish_timeout => 1);
    is code_of(sub { $other->hub->publish(news => 1) }), 'unavailable', 'without them nothing is published';
};

subtest 'an eviction is reported' => sub {
    my $redis  = Testing::Redis->start(maxmemory => '100mb', policy => 'allkeys-lru');
    my $stored = Testing::StoredHub->start({redis => $redis->url});
    $stored->hub->publish(news => 1);
    like $stored->store->{last_error}, qr/maxmemory-policy allkeys-lru/, 'as the last error';
    cmp_ok $stored->store->{last_error_age}, '>=', 0, 'with its age';
};

subtest 'Sentinels promote a replica' => sub {
    my $group = Testing::Sentinel->start(password => 'w@che', redis => {appendonly => 'always', password => 'geheim'});
    my $wrong = Testing::StoredHub->start({redis => $group->url}, publish_timeout => 1);
    is code_of(sub { $wrong->hub->publish(news => 1) }), 'unavailable', 'Sentinels have a password of their own';
    my $stored = Testing::StoredHub->start({redis => $group->url, replicas => 1, sentinel_login => ':w%40che'});
    my $hub    = $stored->hub;
    my @ids    = map { $hub->publish(news => $_) } 1 .. 5;
    my $stream = Testing::Subscriber->open($hub, 'news', {after => $ids[0]});
    $group->fail_over;
    my $again = 0;
    eventually_ok $DEADLINE, 'publish continues' => sub {
        eval { $hub->publish(news => 'new', {once => 'new'}) }
    };
    is_deeply [$stream->data(5)], [2 .. 5, 'new'], 'and the stream, each event once';
    is + (grep { $_->info->{role} eq 'master' && $_->command('EXISTS', 'es:{shop}') } $group->servers), 1,
        'in the new master';
};

done_testing;
