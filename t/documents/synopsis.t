# The SYNOPSIS of each module runs when it is pasted.

use strict;
use warnings;

use File::Find            qw(find);
use HTTP::Request::Common qw(GET);
use Plack::Test;
use Test::More;

# The lines that are indented under the heading.
sub synopsis {
    my $file = shift;
    open my $lines, '<:encoding(UTF-8)', $file or die "$file: $!";
    my $text = do { local $/ = undef; <$lines> };
    my ($section) = $text =~ /^=head1 SYNOPSIS$(.*?)^=head1/ms or return;
    return join '', map { "$_\n" } map { s/^ {4}//r } grep { /^(?: {4}|\s*$)/ } split /\n/, $section;
}

# Runs an example as a program of its own would run; what it evaluates to is returned. One that is a test is a subtest.
my $number = 0;

sub run {
    my ($code, $name) = @_;
    my $package = 'Example' . ++$number;
    my $printed = '';
    my ($value, $trouble);
    my $run = sub {
        open my $out, '>', \$printed or die $!;
        local *STDOUT = $out;
        my $all = "package $package; use strict; use warnings;\n#line 1 \"$name\"\n$code";
        $value   = eval $all;    ## no critic (ProhibitStringyEval)
        $trouble = $@;
    };
    if ($code =~ /^done_testing;$/m) { subtest $name => $run }
    else                             { $run->() }
    is $trouble, '', "$name runs";
    return ($value, $printed);
}

my @modules;
find({no_chdir => 1, wanted => sub { push @modules, $_ if /\.pm\z/ }}, 'perl');
for my $file (sort @modules) {
    my $code = synopsis($file);
    ok $code, "$file has a SYNOPSIS" or next;
    my ($value, $printed) = run($code, "the SYNOPSIS of $file");
    is $printed, "add 1: hello\n", 'and prints what it says' if $file =~ /Parser\.pm/;
    next if ref $value ne 'CODE';

    if ($file eq 'perl/EventSource/Hub.pm') {    # whose streams have no end
        test_psgi $value, sub {
            like shift->(GET '/hello')->content, qr/\Apublished as \w+-1\n\z/, 'the application of a hub publishes';
        };
        next;
    }
    my $path = $file eq 'perl/Plack/App/EventSource.pm' ? '/events' : '/';
    test_psgi $value, sub {
        my $response = shift->(GET $path);
        is $response->content_type, 'text/event-stream', "the application in $file streams events";
        like $response->content, qr/\n\r?\n\z/, 'and they are whole';
    };
}

done_testing;
