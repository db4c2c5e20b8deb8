# The variables of CPAN testers count: no test uses the network with NO_NETWORK_TESTING, and none fails for a missing tool with
# AUTOMATED_TESTING.

use lib 't/lib';
use Testing;
use Testing::Node       qw(packages_missing);
use Testing::SourceTree qw(write_file);

my $folder = new_folder;
my $PATH   = "$folder:$ENV{PATH}";
for my $program (qw(node npm)) {
    write_file("$folder/$program", "#!/bin/sh\necho >>'$folder/runs'\nexit 1\n");
    chmod 0755, "$folder/$program";
}
write_file("$folder/package.json", '{"dependencies": {"anything": "1.0.0"}}');

subtest 'NO_NETWORK_TESTING' => sub {
    local $ENV{PATH} = $PATH;
    local $ENV{NO_NETWORK_TESTING};
    like packages_missing("$folder"), qr/npm cannot fetch/, 'without it npm is asked';
    ok unlink("$folder/runs"), 'and runs';
    $ENV{NO_NETWORK_TESTING} = 1;
    like packages_missing("$folder"), qr/NO_NETWORK_TESTING is set/, 'with it a test that needs a package says so';
    ok !-e "$folder/runs", 'and npm does not run';
};

subtest 'AUTOMATED_TESTING' => sub {
    local @ENV{qw(AUTOMATED_TESTING EVENTSOURCE_XS_FULL)} = (0, 1);
    my $test = 'use Testing; use Testing::Developer "needs_command"; needs_command("no-redis"); pass; done_testing';
    my @run  = ($^X, '-It/lib', '-e', $test);
    like qx{@{[map { "'$_'" } @run]} 2>&1}, qr/^not ok 1 - there is no no-redis here/m,
        'for us a missing tool is a failure';
    $ENV{AUTOMATED_TESTING} = 1;
    is qx{@{[map { "'$_'" } @run]} 2>&1}, "1..0 # SKIP there is no no-redis here\n",
        'for testers it is a skipped test with its name';
    is $?, 0, 'that passes';
};

done_testing;
