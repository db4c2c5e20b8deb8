# The manuals: each begins with an example, make has put in the files of examples/ that they quote, the files that they name
# exist, and each link leads to a section that exists.

use lib 't/lib';
use Testing;
use Testing::SourceTree qw(slurp);
use File::Find          qw(find);

sub text_of { return slurp(shift, ':encoding(UTF-8)') }

# The formatting codes of a heading or a link as plain text.
sub plain {
    my $text = shift;
    $text         =~ s/E<sol>/\//g;
    1 while $text =~ s/[A-Z]<<?\s?([^<>]*?)\s?>?>/$1/;
    return $text  =~ s/\s+/ /gr;
}

my %pod;    # by the module's name
find({no_chdir => 1, wanted => sub { $pod{name_of($_)} = text_of($_) if /[.]p(?:m|od)\z/ }}, 'perl');
$pod{eventsource} = text_of('bin/eventsource');

sub name_of { return shift =~ s{\Aperl/|[.]p(?:m|od)\z}{}gr =~ s{/}{::}gr }

# The headings and items of a module.
sub sections {
    my $module = shift;
    return map { (plain($_) => 1, plain($_) =~ s/ .*//sr => 1) } $pod{$module} =~ /^=(?:head\d|item) (.+)$/mg;
}

subtest 'each page begins with an example' => sub {
    my @pages = map { $pod{$_} =~ /^=head1 NAME\n.*?(^=head1 .*?)(?=^=head1|\z)/ms ? [$_ => $1] : () } sort keys %pod;
    is_deeply [map { $_->[0] } grep { $_->[1] !~ /^ {4}\S/m } @pages], [], 'in the first section after NAME';
};

subtest 'a built manual shows the files of examples/ as they are' => sub {
    my %is_quoted;
    for my $module (sort keys %pod) {
        my @files = $pod{$module} =~ /^    # (examples\/\S+)$/mg or next;
        my $built = text_of('blib/lib/' . $module =~ s{::}{/}gr . '.pod');
        for my $file (@files) {
            my $block = text_of($file) =~ s/^(?=.*\S)/    /gmr;
            ok index($built, "\n\n$block\n") > 0, "$module has $file";
            $is_quoted{$file} = 1;
        }
        unlike $built, qr/^    # examples\//m, "$module names no file in its place";
    }
    my @unquoted = grep { !$is_quoted{$_} && !/package|node_modules|[.]png\z/ && -f }
        map { glob "examples/$_/*" }
        qw(cookbook deployment deployment/container deployment/systemd/system deployment/systemd/user migration tutorial xmpp);
    is_deeply \@unquoted, [], 'each recipe is quoted';
};

subtest 'each file that a manual names exists' => sub {
    for my $module (sort keys %pod) {
        for my $path ($pod{$module} =~ m{F<((?:bench|examples|script|t)/[\w./-]+)>|\b(script/\w+)}g) {
            ok -e $path, "$module: $path" if defined $path && $path !~ /NAME/;
        }
    }
};

subtest 'each link leads to a section' => sub {
    for my $module (sort keys %pod) {
        my %missing;
        for my $link ($pod{$module} =~ /L<([^<>|]*(?:[A-Z]<[^<>]*>[^<>|]*)*)>/g) {
            my ($to, $section) = $link =~ m{\A([\w:]*)(?:/(.+))?\z}s or next;
            $to = $module if $to eq '';
            next if !$pod{$to};    # a module of others
            my %is_section = sections($to);
            $missing{$link} = 1 if defined $section && !$is_section{plain($section =~ s/\A"|"\z//gr)};
        }
        is_deeply [sort keys %missing], [], "the links of $module";
    }
};

subtest 'perldoc EventSource::XS is the map of the modules' => sub {
    my ($map) = $pod{'EventSource::XS'} =~ /^=head1 DESCRIPTION\n(.*?)^=head1/ms;
    my %has = map { $_ => 1 } $map =~ /(\w+(?:::\w+)+)/g;
    my @missing =
        grep { !$has{$_} && /::/ && $_ ne 'EventSource::XS' } grep { $pod{$_} =~ /^=head1 NAME/m } sort keys %pod;
    is_deeply \@missing,                           [], 'each module with a manual is there';
    is_deeply [grep { !$pod{$_} } sort keys %has], [], 'and none that is not';
};

done_testing;
